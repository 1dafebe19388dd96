"""What a verification found: damaged containers, records, files and versions, by name."""

from collections.abc import Mapping

import attrs

__all__ = ["DamagedContainer", "DamagedFile", "DamagedRecord", "DamagedVersion", "VerifyReport"]


@attrs.frozen(order=True)
class DamagedContainer:
    """A container that is not what its header, its commits and the manifests say.

    Attributes:
        path: Store path.
        reason: What is wrong.
    """

    path: str
    reason: str


@attrs.frozen(order=True)
class DamagedRecord:
    """A record whose bytes are not what was stored.

    Attributes:
        path: Store path of the container.
        offset: First byte.
        length: Bytes of the record.
        local_id: Number in the container; 0 if unknown.
        reason: What is wrong.
    """

    path: str
    offset: int
    length: int
    local_id: int
    reason: str


@attrs.frozen(order=True)
class DamagedFile:
    """An entry that cannot be restored whole.

    Attributes:
        version: Number of the version.
        path: Its path.
        reason: What is wrong.
    """

    version: int
    path: bytes
    reason: str


@attrs.frozen(order=True)
class DamagedVersion:
    """A version whose manifest or catalogue is damaged: more entries than listed may be lost.

    Attributes:
        version: Its number.
        reason: What is wrong.
    """

    version: int
    reason: str


@attrs.frozen(kw_only=True)
class VerifyReport:
    """The outcome of a verification.

    Attributes:
        versions: Versions looked at.
        entries: Entries in all of them.
        containers: Containers looked at.
        records: Records in them, commits not counted.
        read_data: Whether every record was read.
        bytes_read: Bytes of records read, if so.
        damaged_containers: Containers, by path.
        damaged_records: Records, by place.
        damaged_files: Entries, by version and path.
        damaged_versions: Versions, by number.
        notices: What is worth knowing and no damage: bytes behind the last commit, partial versions.
    """

    versions: int
    entries: int
    containers: int
    records: int
    read_data: bool
    bytes_read: int
    damaged_containers: tuple[DamagedContainer, ...]
    damaged_records: tuple[DamagedRecord, ...]
    damaged_files: tuple[DamagedFile, ...]
    damaged_versions: tuple[DamagedVersion, ...]
    notices: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not (
            self.damaged_containers
            or self.damaged_records
            or self.damaged_files
            or self.damaged_versions
        )

    def as_record(self) -> Mapping[str, object]:
        """Return everything as plain values, as ``--json`` prints them."""
        return {"ok": self.ok, **attrs.asdict(self, value_serializer=_plain)}


def _plain(_owner: object, _field: object, value: object) -> object:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
