"""What the verification of a Windows volume found: damage by place, and the files that it breaks."""

from collections.abc import Mapping
from typing import Final

import attrs

__all__ = ["BrokenFile", "Finding", "OrphanStubs", "WindowsCounts", "WindowsVerifyReport"]

_WORDS: Final[Mapping[str, str]] = {
    "container.header": "none of the three container headers is valid",
    "container.header-copy": "a copy of the container header is damaged",
    "container.foreign": "the container is another one than its name says",
    "container.missing": "no generation of the container is in the store",
    "container.truncated": "the container is cut off",
    "container.unreadable": "bytes of the container cannot be read",
    "local-id.order": "the numbers of records do not ascend",
    "local-id.range": "a record has a number that was not given out yet",
    "local-id.twice": "two records have the same number",
    "chunk.compressed": "a chunk cannot be decompressed",
    "chunk.compression": "a chunk is compressed in a way that is not known",
    "chunk.digest": "digest of a chunk after decoding",
    "map.chunk-size": "a chunk of a stream map is too large",
    "map.container": "an entry of a stream map names no container",
    "map.end": "a stream map does not end where the stub says",
    "map.magic": "a stream record holds no stream map",
    "map.order": "the entries of a stream map go backwards",
    "map.size": "a stream map has a size that none can have",
    "map.version": "a stream map of a version that is not known",
    "padding.zeros": "a padding is not all zeros",
    "record.digest": "a record holds something else than its reference says",
    "record.gap": "the bytes between two records are not zeros",
    "record.header": "a record header is cut off",
    "record.header-crc": "CRC-64 of a record header",
    "record.hidden": "a whole record lies where the records before it do not lead to",
    "record.kind": "a record of a kind that does not belong here",
    "record.magic": "there is no record where one has to be",
    "record.missing": "a record is not in the store",
    "record.payload-crc": "CRC-64 of a payload",
    "record.size": "a chunk has another size than its reference says",
    "record.too-large": "a record is larger than any reader accepts",
    "record.truncated": "a record reaches beyond the end of the data",
    "record.version": "a record of a version that is not known",
    "record.version-check": "the version fields of a record contradict each other",
    "table.backup-place": "the backup redirection table is not where one can be",
    "table.crc": "CRC-64 of the head of a redirection table",
    "table.disagree": "the two redirection tables differ",
    "table.entries": "a redirection table of a size that none can have",
    "table.entry": "a redirection table leads to no such record",
    "table.magic": "there is no redirection table where one has to be",
    "table.order": "the entries of a redirection table do not ascend",
    "table.size": "a redirection table is cut off",
}


@attrs.frozen(kw_only=True)
class Finding:
    """One piece of damage: which check failed, where, what was expected and what was found.

    Attributes:
        check: Stable name of the check, such as ``"record.payload-crc"``.
        container: Store path of the container.
        offset: First byte concerned.
        length: Bytes concerned; 0 = not known.
        local_id: Number of the record in the container; 0 = not known, or no record is meant.
        expected: What had to be there.
        found: What was there.
        copy: Where a good copy of the record is, if there is one: restores take it by itself.
        files: Files that cannot be restored whole because of this, sorted.
    """

    check: str
    container: str
    offset: int
    length: int = 0
    local_id: int = 0
    expected: str = ""
    found: str = ""
    copy: str = ""
    files: tuple[bytes, ...] = ()

    @property
    def reason(self) -> str:
        """What is wrong, in one line without the place."""
        text = _WORDS.get(self.check, self.check)
        if self.expected:
            text += f": expected {self.expected}, found {self.found}"
        elif self.found:
            text += f": {self.found}"
        return f"{text}; a good copy exists in {self.copy}" if self.copy else text

    @property
    def place(self) -> str:
        """Container, offset, and number of the record if it is known."""
        number = f", record {self.local_id}" if self.local_id else ""
        return f"{self.container} at {self.offset}{number}"

    def __str__(self) -> str:
        """Return place and reason."""
        return f"{self.place}: {self.reason}"


@attrs.frozen(kw_only=True)
class BrokenFile:
    """A file that cannot be restored whole, with the first thing that is wrong with it.

    Attributes:
        path: Its path on the volume.
        check: Name of the check that failed.
        reason: What is wrong, with its place in the store.
        at: First byte of the file that is lost; 0 where all of it is.
    """

    path: bytes
    check: str
    reason: str
    at: int = 0


@attrs.frozen(kw_only=True)
class OrphanStubs:
    """Stubs whose chunk store is not on their volume.

    Attributes:
        store: GUID of the store.
        elsewhere: Whether that store was given from elsewhere; it is not verified here.
        files: Paths of the stubs, sorted.
    """

    store: str
    elsewhere: bool
    files: tuple[bytes, ...]


@attrs.frozen(kw_only=True)
class WindowsCounts:
    """What was looked at.

    Attributes:
        stores: Chunk stores.
        containers: Live containers in them.
        bytes: Bytes of containers up to their valid lengths.
        chunks: Records in ``Data``.
        maps: Records in ``Stream``.
        hotspots: Records in ``Hotspot``.
        paddings: Padding records.
        others: Records of kinds that are not known.
        compressed: Chunks that are compressed.
        by_digest: Chunks whose decoded bytes have the digest of their header.
        by_checksum: Records of which only the CRC-64 was checked: stream maps, and compressed chunks
            that no stream map names, as their size is not known.
        by_header: Records of which only the header was looked at.
        unreferenced_chunks: Whole records in ``Data`` that no file needs (no map, without stubs).
        unreferenced_maps: Whole records in ``Stream`` that no stub names; 0 without stubs.
        files: Stubs, without those whose store is not there.
        whole: Those that a restore gives back.
    """

    stores: int = 0
    containers: int = 0
    bytes: int = 0
    chunks: int = 0
    maps: int = 0
    hotspots: int = 0
    paddings: int = 0
    others: int = 0
    compressed: int = 0
    by_digest: int = 0
    by_checksum: int = 0
    by_header: int = 0
    unreferenced_chunks: int = 0
    unreferenced_maps: int = 0
    files: int = 0
    whole: int = 0

    def __add__(self, more: "WindowsCounts") -> "WindowsCounts":
        """Return the sums."""
        mine, theirs = attrs.astuple(self), attrs.astuple(more)
        return WindowsCounts(
            **{
                field.name: one + two
                for field, one, two in zip(attrs.fields(WindowsCounts), mine, theirs, strict=True)
            }
        )


@attrs.frozen(kw_only=True)
class WindowsVerifyReport:
    """The outcome of the verification of a Windows volume.

    Attributes:
        version: Number of the version of the volume.
        read_data: Whether chunks were read, not only their headers.
        stubs: Whether the stubs of the volume were read.
        counts: What was looked at.
        damage: All damage in containers, by place.
        files: Broken files, by path.
        orphans: Stubs without their store, by store.
        notices: What is worth knowing and no damage.
    """

    version: int
    read_data: bool
    stubs: bool
    counts: WindowsCounts
    damage: tuple[Finding, ...]
    files: tuple[BrokenFile, ...]
    orphans: tuple[OrphanStubs, ...]
    notices: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged, and no stub is without a store."""
        return not (self.damage or self.files or any(not o.elsewhere for o in self.orphans))

    def as_record(self) -> Mapping[str, object]:
        """Return everything as plain values, as ``--json`` prints them."""
        plain = attrs.asdict(self, value_serializer=_plain)
        for record, finding in zip(plain["damage"], self.damage, strict=True):
            record["reason"] = finding.reason
        return {"ok": self.ok, **plain}


def _plain(_owner: object, _field: object, value: object) -> object:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
