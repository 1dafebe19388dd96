"""The containers of a store as verification sees them: headers, chains, records, damage."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.catalogue.damage import DamagedContainer, DamagedRecord
from rehydrate.catalogue.reading import StoreReader, read_exactly
from rehydrate.chunks import Bools, Ints
from rehydrate.errors import FormatError, RestoreError, StoreError
from rehydrate.formats.native.catalogue import ContainerState
from rehydrate.formats.native.chain import (
    RECORD_DTYPE,
    ChainState,
    commit_before,
    every_record,
    follow_chain,
)
from rehydrate.formats.native.container import (
    ContainerHeader,
    container_path,
    parse_container_header,
    parse_container_name,
)
from rehydrate.formats.native.layout import HEADER_SIZE, KIND_COMMIT, RECORD, crc64
from rehydrate.formats.native.record import NativeDecoder
from rehydrate.formats.walk import DATA, STREAM
from rehydrate.values import StoreId, StorePath

__all__ = ["Container", "Inventory", "read_records", "take_inventory"]

_BATCH: Final = 4 << 20
_ARCHIVED: Final = "object.archived"
_Key = tuple[str, int, int]


@attrs.define(eq=False)
class Container:
    """One container.

    Attributes:
        path: Store path.
        header: Its header.
        offsets: Offset of each record, ascending.
        headers: Header of each record.
        bad: Which records are damaged.
    """

    path: StorePath
    header: ContainerHeader
    offsets: Ints
    headers: npt.NDArray[np.void]
    bad: Bools

    @property
    def lengths(self) -> Ints:
        """Bytes of each record."""
        lengths: Ints = self.headers["header_size"].astype(np.int64) + self.headers["stored_size"]
        return lengths

    def find(self, rows: npt.NDArray[np.void], sizes: Ints) -> Bools:
        """Tell which references (map rows of this container) resolve to a good record.

        Args:
            rows: The references.
            sizes: Logical size that each one claims.
        """
        if not len(self.offsets):
            return np.zeros(len(rows), np.bool_)
        wanted = rows["offset"].astype(np.int64)
        positions = np.minimum(np.searchsorted(self.offsets, wanted), len(self.offsets) - 1)
        found = self.headers[positions]
        good: Bools = (
            (self.offsets[positions] == wanted)
            & (found["local_id"] == rows["local_id"])
            & (self.lengths[positions] == rows["length"])
            & (found["digest"] == rows["digest"])
            & (found["logical_size"] == sizes)
            & ~self.bad[positions]
        )
        return good


@attrs.define(eq=False)
class Inventory:
    """All containers of a store, by kind, id and generation.

    Attributes:
        containers: Those with a valid header.
        damaged: What is wrong with any.
        records: Damaged records.
        notices: What is worth knowing.
    """

    containers: dict[_Key, Container] = attrs.field(factory=dict)
    damaged: list[DamagedContainer] = attrs.field(factory=list)
    records: list[DamagedRecord] = attrs.field(factory=list)
    notices: list[str] = attrs.field(factory=list)

    def resolve(self, kind: str, rows: npt.NDArray[np.void], sizes: Ints) -> Bools:
        """Tell which stored rows (:data:`~rehydrate.chunks.ROW_DTYPE`) have a good record.

        Args:
            kind: Kind of their containers.
            rows: The rows.
            sizes: Logical size that each one claims.
        """
        good = np.zeros(len(rows), np.bool_)
        for pair in np.unique(rows[["container", "generation"]]):
            number, generation = int(pair["container"]), int(pair["generation"])
            here = (rows["container"] == number) & (rows["generation"] == generation)
            container = self.containers.get((kind, number, generation))
            if container is not None:
                good[here] = container.find(rows[here], sizes[here])
        return good


def take_inventory(
    store: StoreReader, identity: StoreId, known: Mapping[_Key, ContainerState]
) -> Inventory:
    """Look at all containers: headers, commit chains, and what manifests know of them.

    Args:
        store: The store.
        identity: Its identity.
        known: Farthest state that a manifest names, by container.
    """
    found = Inventory()
    seen: set[_Key] = set()
    for kind in (DATA, STREAM):
        for name in sorted(store.list_containers(StorePath(kind))):
            parsed = parse_container_name(name)
            if parsed is None:
                if not name.startswith("."):
                    found.notices.append(f"{kind}/{name} is no container and was left alone")
                continue
            key = (kind, *parsed)
            seen.add(key)
            _look(store, identity, key, known.get(key), found)
    for key in sorted(set(known) - seen):
        found.damaged.append(DamagedContainer(container_path(*key), "it is missing"))
    return found


def _look(
    store: StoreReader,
    identity: StoreId,
    key: _Key,
    known: ContainerState | None,
    found: Inventory,
) -> None:
    path = container_path(*key)
    try:
        size = store.size_of(path)
        header = parse_container_header(read_exactly(store, path, 0, HEADER_SIZE))
        if (header.kind, header.container, header.generation) != key or header.store != identity:
            found.damaged.append(DamagedContainer(path, "its header is that of another container"))
            return
        if header.tombstone:
            return
        _take_records(store, header, size, known, found)
    except (RestoreError, OSError) as error:
        if isinstance(error, StoreError) and error.code.startswith(_ARCHIVED):
            raise  # it cannot be read now, which is no damage
        # What no manifest knows was created by a run that did not live to use it.
        if known is None and isinstance(error, FormatError):
            found.notices.append(f"{path} was begun and never used: {error}")
        else:
            found.damaged.append(DamagedContainer(path, str(error)))


def _take_records(
    store: StoreReader,
    header: ContainerHeader,
    size: int,
    known: ContainerState | None,
    found: Inventory,
) -> None:
    path = container_path(header.kind, header.container, header.generation)

    def read(offset: int, wanted: int) -> bytes:
        return bytes(memoryview(store.read_backup_file(path, offset, wanted))) if wanted else b""

    state = ChainState()
    offsets: list[Ints] = [np.empty(0, np.int64)]
    headers: list[npt.NDArray[np.void]] = [np.empty(0, RECORD_DTYPE)]
    for stretch in follow_chain(read, header, state, payloads=False):
        state = stretch.state
        offsets.append(stretch.offsets)
        headers.append(stretch.headers)
    needed = HEADER_SIZE if known is None else known.valid_length
    if state.end < needed:
        reason = f"the chain of commits breaks behind offset {state.end}, {needed} is needed"
        found.damaged.append(DamagedContainer(path, reason))
        more = _past_damage(read, header, state.end, min(size, needed))
        offsets.append(more[0])
        headers.append(more[1])
    elif state.end < size:
        found.notices.append(f"{path} has {size - state.end} bytes behind its last commit")
    if known is not None and state.end >= needed:
        there = commit_before(read, header, needed)
        if (there.sequence, there.digest.hex()) != (known.sequence, known.digest):
            reason = "another commit stands where the newest version needs one"
            found.damaged.append(DamagedContainer(path, reason))
    offset_column, header_column = np.concatenate(offsets), np.concatenate(headers)
    found.containers[header.kind, header.container, header.generation] = Container(
        path, header, offset_column, header_column, np.zeros(len(offset_column), np.bool_)
    )


def _past_damage(
    read: Callable[[int, int], bytes], header: ContainerHeader, start: int, end: int
) -> tuple[Ints, npt.NDArray[np.void]]:
    """Return the records whose headers hold behind a break of the chain."""
    offsets, fixed = [], []
    for offset, record in every_record(read, header, end):
        if offset >= start and record.kind != KIND_COMMIT:
            offsets.append(offset)
            fixed.append(read(offset, RECORD.size))
    return np.array(offsets, np.int64), np.frombuffer(b"".join(fixed), RECORD_DTYPE)


def read_records(
    store: StoreReader, inventory: Inventory, jobs: int, tell: Callable[[int], None]
) -> int:
    """Read and verify every record, and mark the damaged ones.

    Args:
        store: The store.
        inventory: Its containers; ``bad`` columns and ``records`` are filled in.
        jobs: Number of threads.
        tell: Called with the bytes of each batch that was verified, from this thread.

    Returns:
        Bytes read.
    """
    total = 0
    batches = [
        (container, batch)
        for container in inventory.containers.values()
        for batch in _batches(container)
    ]
    with ThreadPoolExecutor(jobs, thread_name_prefix="verify") as executor:
        results = executor.map(lambda task: _verify(store, *task), batches)
        for (container, batch), faults in zip(batches, results, strict=True):
            for number, reason in faults:
                container.bad[number] = True
                inventory.records.append(
                    DamagedRecord(
                        container.path,
                        int(container.offsets[number]),
                        int(container.lengths[number]),
                        int(container.headers["local_id"][number]),
                        reason,
                    )
                )
            size = int(container.lengths[batch.start : batch.stop].sum())
            total += size
            tell(size)
    return total


def _batches(container: Container) -> Sequence[range]:
    """Cut the records into runs of about 4 MiB."""
    groups = container.offsets // _BATCH
    position, batches = 0, []
    for _, members in groupby(groups.tolist()):
        count = sum(1 for _ in members)
        batches.append(range(position, position + count))
        position += count
    return batches


def _verify(store: StoreReader, container: Container, batch: range) -> list[tuple[int, str]]:
    """Return the damaged records of a run."""
    lengths = container.lengths
    start = int(container.offsets[batch.start])
    end = int(container.offsets[batch.stop - 1] + lengths[batch.stop - 1])
    try:
        view = memoryview(store.read_backup_file(container.path, start, end - start))
    except (OSError, StoreError) as error:
        return [(number, f"it cannot be read: {error}") for number in batch]
    faults = []
    for number in batch:
        at = int(container.offsets[number]) - start
        reason = _fault(view[at : at + int(lengths[number])], container.headers[number])
        if reason:
            faults.append((number, reason))
    return faults


def _fault(record: memoryview, header: np.void) -> str:
    size = int(header["header_size"])
    stored = record[size:]
    if len(stored) != int(header["stored_size"]):
        return "the container ends inside it"
    if crc64(stored) != int(header["payload_crc"]):
        return "its bytes fail their CRC-64"
    try:
        NativeDecoder(int(header["kind"])).decode(
            record, int(header["local_id"]), int(header["logical_size"]), header["digest"].tobytes()
        )
    except FormatError as error:
        return error.message
    return ""
