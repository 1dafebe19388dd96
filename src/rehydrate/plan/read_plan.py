"""The plan of a restore as a value: what it would read, in which order, and what it would write.

A :class:`ReadPlan` can be shown, priced, saved as JSON and executed later: its rounds hold the
accepted order (:meth:`PlannedRound.order`), and its fingerprint says which job it was made for.
What comes out of :meth:`ReadPlan.from_json` is checked like any stranger's bytes.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import attrs
import numpy as np

from rehydrate.errors import CorruptMetadataError, LimitError, UnsupportedFormatError
from rehydrate.plan.rounds import RoundPlan
from rehydrate.strict_json import load
from rehydrate.values import MAX_OFFSET, ContainerExtent, StoreId, StorePath

__all__ = ["PlannedContainer", "PlannedExtent", "PlannedRound", "ReadPlan", "planned_round"]

FORMAT: Final = "rehydrate-plan"
VERSION: Final = 1
MAX_JSON: Final = 64 << 20
"""Largest saved plan that is read: some 400,000 extents."""
KINDS: Final = ("stream", "data")
FINGERPRINT_DIGITS: Final = 64


def _count(_instance: object, attribute: "attrs.Attribute[int]", value: int) -> None:
    if type(value) is not int or value < 0:
        msg = f"{attribute.name} must be an int of at least 0, not {value!r}"
        raise ValueError(msg)


def _path(path: object) -> None:
    """Raise unless the path is a store path: relative, and nowhere else than it seems."""
    if type(path) is not str or "\0" in path or {"", ".", ".."} & set(path.split("/")):
        msg = f"not a relative store path: {path!r}"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class PlannedExtent:
    """One extent of the accepted order that has reads.

    Attributes:
        container: Index into the containers of the round.
        offset: First byte of the extent, as the vendor gave it.
        length: Its length; it ends at ``MAX_OFFSET`` at most.
        first: First byte that is read.
        end: First byte behind the last read.
        reads: Number of reads.
        bytes_needed: Distinct bytes of needed records that are read here.
        bytes_to_read: Bytes of all reads.
    """

    container: int = attrs.field(validator=_count)
    offset: int = attrs.field(validator=_count)
    length: int = attrs.field(validator=_count)
    first: int = attrs.field(validator=_count)
    end: int = attrs.field(validator=_count)
    reads: int = attrs.field(validator=_count)
    bytes_needed: int = attrs.field(validator=_count)
    bytes_to_read: int = attrs.field(validator=_count)

    def __attrs_post_init__(self) -> None:
        """Check that the numbers can belong to one extent."""
        if not self.offset <= self.first < self.end <= min(self.offset + self.length, MAX_OFFSET):
            msg = "the reads of an extent must lie inside it"
            raise ValueError(msg)
        # Reads do not overlap, and each begins with a needed byte.
        sizes = (1, self.reads, self.bytes_needed, self.bytes_to_read, self.end - self.first)
        if list(sizes) != sorted(sizes):
            msg = "reads, needed bytes and bytes to read of an extent contradict each other"
            raise ValueError(msg)


@attrs.frozen
class PlannedContainer:
    """What a round asks of one container.

    Attributes:
        path: The container.
        extents: Extents with reads; 0 = the store did not offer the container.
        reads: Number of reads.
        bytes_needed: Distinct bytes of needed records.
        bytes_to_read: Bytes of all reads.
    """

    path: StorePath
    extents: int
    reads: int
    bytes_needed: int
    bytes_to_read: int


@attrs.frozen
class PlannedRound:
    """One order call and the reads that follow.

    Attributes:
        kind: ``"stream"`` or ``"data"``.
        containers: Paths as they are handed to the store, distinct.
        extents: What is read, in reading order.
    """

    kind: str = attrs.field(validator=attrs.validators.in_(KINDS))
    containers: tuple[StorePath, ...]
    extents: tuple[PlannedExtent, ...]

    def __attrs_post_init__(self) -> None:
        """Check the paths, and that every extent belongs to one."""
        for path in self.containers:
            _path(path)
        if len(set(self.containers)) != len(self.containers):
            msg = "a container occurs twice in a round"
            raise ValueError(msg)
        if any(extent.container >= len(self.containers) for extent in self.extents):
            msg = "an extent belongs to no container of its round"
            raise ValueError(msg)

    @property
    def reads(self) -> int:
        """Number of reads."""
        return sum(extent.reads for extent in self.extents)

    @property
    def bytes_needed(self) -> int:
        """Distinct bytes of needed records."""
        return sum(extent.bytes_needed for extent in self.extents)

    @property
    def bytes_to_read(self) -> int:
        """Bytes of all reads."""
        return sum(extent.bytes_to_read for extent in self.extents)

    @property
    def visits(self) -> int:
        """Changes from one container to another while reading, the first included."""
        order = [extent.container for extent in self.extents]
        return sum(after != before for before, after in zip([None, *order], order, strict=False))

    def order(self) -> tuple[ContainerExtent, ...]:
        """Return the accepted order, as a store would answer it."""
        return tuple(
            ContainerExtent(index=extent.container, offset=extent.offset, length=extent.length)
            for extent in self.extents
        )

    def by_container(self) -> tuple[PlannedContainer, ...]:
        """Return what is asked of each container, in the order of :attr:`containers`."""
        sums = [[0, 0, 0, 0] for _ in self.containers]
        for extent in self.extents:
            mine = sums[extent.container]
            parts = (1, extent.reads, extent.bytes_needed, extent.bytes_to_read)
            mine[:] = [total + part for total, part in zip(mine, parts, strict=True)]
        return tuple(
            PlannedContainer(path, *mine) for path, mine in zip(self.containers, sums, strict=True)
        )


@attrs.frozen(kw_only=True)
class ReadPlan:
    """What a restore would do, without doing it.

    Attributes:
        store: Identity of the store.
        fingerprint: Identifies the job: 64 hexadecimal digits.
        rounds: The planned rounds in order, each kind at most once; a kind without reads is
            missing.
        files: Files to write.
        logical_bytes: Sum of their sizes.
        allocated_bytes: Bytes they occupy: the logical bytes without recorded holes.
        unfinished_peak: Most bytes of files that are begun and not finished at any moment.
    """

    store: StoreId = attrs.field(validator=attrs.validators.instance_of(StoreId))
    fingerprint: str = attrs.field()
    rounds: tuple[PlannedRound, ...] = attrs.field()
    files: int = attrs.field(validator=_count)
    logical_bytes: int = attrs.field(validator=_count)
    allocated_bytes: int = attrs.field(validator=_count)
    unfinished_peak: int = attrs.field(validator=_count)

    @fingerprint.validator
    def _check_fingerprint(self, _attribute: object, value: object) -> None:
        hexadecimal = type(value) is str and not set(value) - set("0123456789abcdef")
        if not hexadecimal or len(str(value)) != FINGERPRINT_DIGITS:
            msg = f"a fingerprint has {FINGERPRINT_DIGITS} hexadecimal digits"
            raise ValueError(msg)

    @rounds.validator
    def _check_rounds(self, _attribute: object, value: tuple[PlannedRound, ...]) -> None:
        kinds = [planned.kind for planned in value]
        if kinds != [kind for kind in KINDS if kind in kinds]:
            msg = f"the rounds of a plan must be among {KINDS}, in this order"
            raise ValueError(msg)

    def __attrs_post_init__(self) -> None:
        """Check that the sizes fit together."""
        if not self.unfinished_peak <= self.allocated_bytes <= self.logical_bytes:
            msg = "unfinished, allocated and logical bytes contradict each other"
            raise ValueError(msg)

    def round(self, kind: str) -> PlannedRound:
        """Return the round of a kind; an empty one if nothing of that kind is read."""
        found = [planned for planned in self.rounds if planned.kind == kind]
        return found[0] if found else PlannedRound(kind, (), ())

    @property
    def bytes_needed(self) -> int:
        """Distinct bytes of needed data records."""
        return self.round("data").bytes_needed

    @property
    def bytes_to_read(self) -> int:
        """Bytes that are read from data containers."""
        return self.round("data").bytes_to_read

    @property
    def metadata_bytes(self) -> int:
        """Bytes that are read from stream-map containers."""
        return self.round("stream").bytes_to_read

    @property
    def amplification(self) -> float:
        """Bytes to read for each needed byte, data containers only; 1.0 if none is needed."""
        return self.bytes_to_read / self.bytes_needed if self.bytes_needed else 1.0

    def to_json(self) -> str:
        """Return the plan as JSON, for :meth:`from_json` and for other programs."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "store": str(self.store),
            "fingerprint": self.fingerprint,
            "files": self.files,
            "logical_bytes": self.logical_bytes,
            "allocated_bytes": self.allocated_bytes,
            "unfinished_peak": self.unfinished_peak,
            "totals": self.totals(),
            "rounds": [attrs.asdict(planned) for planned in self.rounds],
        }
        return json.dumps(document, separators=(",", ":"))

    def totals(self) -> dict[str, int | float]:
        """Return the sums over all rounds, as :meth:`to_json` shows them."""
        return {
            "containers": sum(len(planned.containers) for planned in self.rounds),
            "reads": sum(planned.reads for planned in self.rounds),
            "bytes_needed": self.bytes_needed,
            "bytes_to_read": self.bytes_to_read,
            "metadata_bytes": self.metadata_bytes,
            "amplification": self.amplification,
        }

    @classmethod
    def from_json(cls, text: str | bytes) -> "ReadPlan":
        """Read a saved plan.

        Args:
            text: What :meth:`to_json` returned, or anything else.

        Raises:
            CorruptMetadataError: It is no plan, or its numbers contradict each other.
            UnsupportedFormatError: It is a plan of another version.
            LimitError: It is longer than 64 MiB.
        """
        if len(text) > MAX_JSON:
            msg = f"a saved plan has at most {MAX_JSON} bytes, this one has {len(text)}"
            raise LimitError(msg, code="limit.plan")
        try:
            return _plan(load(text, _wrong))
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            msg = f"this is no saved plan: {error}"
            raise CorruptMetadataError(msg, code="plan.corrupt") from error


def planned_round(kind: str, paths: Sequence[StorePath], plan: RoundPlan) -> PlannedRound:
    """Summarise the reads of a round.

    Args:
        kind: ``"stream"`` or ``"data"``.
        paths: The containers as they are handed to the store.
        plan: The reads.

    Returns:
        The round as a value, without the single reads.
    """
    last = plan.read_ptr[1:] - 1
    columns = {
        "container": plan.extent_container,
        "offset": plan.extent_start,
        "length": plan.extent_end - plan.extent_start,
        "first": plan.read_offset[plan.read_ptr[:-1]],
        "end": plan.read_offset[last] + plan.read_size[last],
        "reads": np.diff(plan.read_ptr),
        "bytes_needed": plan.extent_needed,
        "bytes_to_read": np.add.reduceat(plan.read_size, plan.read_ptr[:-1]),
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    extents = (PlannedExtent(**dict(zip(columns, row, strict=True))) for row in rows)
    return PlannedRound(kind, tuple(paths), tuple(extents))


def _wrong(what: str) -> CorruptMetadataError:
    return CorruptMetadataError(f"this is no saved plan: it {what}", code="plan.corrupt")


def _plan(document: object) -> ReadPlan:
    if type(document) is not dict or document.get("format") != FORMAT:
        msg = f"the key 'format' must say {FORMAT!r}"
        raise ValueError(msg)
    version = document.get("version")
    if type(version) is not int:
        msg = "the key 'version' must be a number"
        raise ValueError(msg)
    if version != VERSION:
        msg = f"a saved plan of version {version}; this release reads version {VERSION}"
        raise UnsupportedFormatError(msg, code="plan.version")
    names = [attribute.name for attribute in attrs.fields(ReadPlan)]
    values = _exactly(document, ["format", "version", "totals", *names])
    totals = values.pop("totals")
    del values["format"], values["version"]
    values["store"] = _store(values["store"])
    values["rounds"] = tuple(_round(planned) for planned in _list(values["rounds"]))
    plan = ReadPlan(**values)
    if totals != plan.totals():
        msg = "the totals are not those of the extents"
        raise ValueError(msg)
    return plan


def _round(record: object) -> PlannedRound:
    values = _exactly(record, [attribute.name for attribute in attrs.fields(PlannedRound)])
    names = [attribute.name for attribute in attrs.fields(PlannedExtent)]
    extents = [PlannedExtent(**_exactly(extent, names)) for extent in _list(values["extents"])]
    return PlannedRound(values["kind"], tuple(_list(values["containers"])), tuple(extents))


def _store(text: str) -> StoreId:
    store = StoreId(text)
    if str(store) != text:
        msg = f"the store must be written as {store}"
        raise ValueError(msg)
    return store


def _exactly(record: object, names: list[str]) -> dict[str, Any]:
    if type(record) is not dict or set(record) != set(names):
        msg = f"an object with exactly the keys {', '.join(names)} is missing"
        raise ValueError(msg)
    return dict(record)


def _list(value: object) -> list[Any]:
    if type(value) is not list:
        msg = f"a list is missing where {value!r:.50} is"
        raise ValueError(msg)
    return value
