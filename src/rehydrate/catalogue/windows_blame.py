"""Which damage a lost reference is due to: findings, the references they break, and good copies."""

from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.catalogue.windows_damage import Finding
from rehydrate.catalogue.windows_tables import FOLDERS
from rehydrate.catalogue.windows_walks import Seen
from rehydrate.formats.windows.layout import container_path
from rehydrate.values import StorePath

__all__ = ["Blame", "Reference", "spots_of"]

_RECORD_CHECKS: Final = ("record.", "chunk.", "map.")
_BESIDE: Final = "record.gap"
_CUT: Final = "record.truncated"
_FARTHEST: Final = 1 << 64


@attrs.frozen(kw_only=True)
class Reference:
    """One reference that has no good record at its place.

    Attributes:
        container: Container id.
        local_id: Number of the record.
        generation: Generation when the reference was written.
        offset: Where the record was then.
        length: Bytes of the record.
        size: Bytes after decoding.
        digest: Digest of it; of a stream map perhaps the first half, then zeros.
    """

    container: int
    local_id: int
    generation: int
    offset: int
    length: int
    size: int
    digest: bytes

    @classmethod
    def of(cls, row: np.void) -> "Reference":
        """Return a row of :data:`~rehydrate.catalogue.windows_tables.WANTED_DTYPE` as a value."""
        return cls(
            container=int(row["container"]),
            local_id=int(row["local_id"]),
            generation=int(row["generation"]),
            offset=int(row["offset"]),
            length=int(row["length"]),
            size=int(row["size"]),
            digest=row["digest"].tobytes(),
        )


class Blame:
    """Finds the finding behind a lost reference, or makes one.

    Attributes:
        findings: All findings of the store; grows.
        files: Numbers of the files that each finding breaks, by position of the finding.
    """

    def __init__(self, prefix: str, seen: Sequence[Seen]) -> None:
        """Collect the findings of all containers.

        Args:
            prefix: Folder of the store.
            seen: The containers that were walked.
        """
        self._prefix = prefix
        self.findings: list[Finding] = []
        self.files: dict[int, set[int]] = {}
        self._copies: dict[int, str] = {}
        self._lost: set[int] = set()
        self._made: dict[tuple[int, int, int], int] = {}
        self._containers: dict[tuple[int, int], list[Seen]] = {}
        self._records: dict[tuple[int, int], int] = {}
        self._stretches: dict[int, list[tuple[int, int, int]]] = {}
        self._orders: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
        for one in sorted(seen, key=lambda one: -one.place.generation):
            self._containers.setdefault((one.place.folder, one.place.container), []).append(one)
        for one in seen:
            for finding in one.findings:
                self._take(one.place.number, finding)

    def _take(self, place: int, finding: Finding) -> None:
        index = len(self.findings)
        self.findings.append(finding)
        if finding.check.startswith(_RECORD_CHECKS) and finding.check != _BESIDE:
            if finding.local_id:
                self._records.setdefault((place, finding.local_id), index)
            if not finding.local_id or finding.check == _CUT:
                stretch = finding.offset, finding.offset + finding.length, index
                insort(self._stretches.setdefault(place, []), stretch)

    def lost(self, ref: Reference, folder: int) -> int:
        """Return the position of the finding that a reference without any good record is due to.

        Args:
            ref: The reference.
            folder: Folder of its container.
        """
        index = self._find(ref, folder)
        self._lost.add(index)
        return index

    def healed(self, ref: Reference, folder: int, copy: str) -> None:
        """Note that a reference has a good record somewhere else.

        Args:
            ref: The reference.
            folder: Folder of its container.
            copy: Where the copy is.
        """
        self._copies.setdefault(self._find(ref, folder), copy)

    def twin(self, ref: Reference, folder: int, copy: str) -> None:
        """Note a good record in one generation where that of another one is damaged."""
        for one in self._containers[folder, ref.container]:
            index = self._records.get((one.place.number, ref.local_id))
            if index is not None:
                self._copies.setdefault(index, copy)

    def result(self) -> list[Finding]:
        """Return the findings with the good copies that there are for all that they damage."""
        return [
            attrs.evolve(finding, copy=self._copies[index])
            if index in self._copies and index not in self._lost
            else finding
            for index, finding in enumerate(self.findings)
        ]

    def _find(self, ref: Reference, folder: int) -> int:
        containers = self._containers.get((folder, ref.container), [])
        exact = [one for one in containers if one.place.generation == ref.generation]
        for one in (*exact, *containers):
            index = self._records.get((one.place.number, ref.local_id))
            if index is not None:
                return index
        for one in containers:
            for spot in spots_of(one, ref):
                index = self._in_stretch(one.place.number, spot)
                if index is not None:
                    return self._number(index, ref.local_id)
        return self._make(ref, folder, (*exact, *containers))

    def _in_stretch(self, place: int, spot: int) -> int | None:
        """Return the finding about bytes whose records are not known, at a place."""
        stretches = self._stretches.get(place, [])
        at = bisect_right(stretches, (spot, _FARTHEST)) - 1
        return stretches[at][2] if at >= 0 and spot < stretches[at][1] else None

    def _number(self, index: int, local_id: int) -> int:
        """Say which record a damaged header was that of."""
        if not self.findings[index].local_id:
            self.findings[index] = attrs.evolve(self.findings[index], local_id=local_id)
        return index

    def _make(self, ref: Reference, folder: int, containers: Sequence[Seen]) -> int:
        """Return a finding about what is not there; one for each container or record."""
        key = folder, ref.container, ref.local_id if containers else 0
        if key not in self._made:
            self._made[key] = len(self.findings)
            if containers:
                self.findings.append(self._missing(ref, containers[0]))
            else:
                path = self._path(ref, folder)
                self.findings.append(
                    Finding(check="container.missing", container=path, offset=0, found="nothing")
                )
        return self._made[key]

    def _path(self, ref: Reference, folder: int) -> StorePath:
        return container_path(self._prefix, FOLDERS[folder], ref.container, ref.generation)

    def _missing(self, ref: Reference, seen: Seen) -> Finding:
        spots = spots_of(seen, ref)
        offset = spots[0] if spots else ref.offset
        check, expected = "record.missing", f"a record of {ref.length} bytes"
        found = f"the end of the data at {seen.end}" if offset >= seen.end else "none"
        record = self._record(seen, ref.local_id)
        if record is not None:
            offset, digest = int(record["offset"]), record["digest"].tobytes()
            check, expected, found = "record.digest", ref.digest.hex(), digest.hex()
            if expected == found:
                check, expected, found = "record.size", str(ref.size), str(record["logical"])
        return Finding(
            check=check,
            container=seen.place.path,
            offset=offset,
            length=ref.length,
            local_id=ref.local_id,
            expected=expected,
            found=found,
        )

    def _record(self, seen: Seen, local_id: int) -> np.void | None:
        """Return the record of a container with a LocalId."""
        number, ids = seen.place.number, seen.records["local_id"]
        if number not in self._orders:
            self._orders[number] = np.argsort(ids, kind="stable")
        order = self._orders[number]
        at = int(np.searchsorted(ids, local_id, sorter=order))
        if at == len(order) or int(ids[order[at]]) != local_id:
            return None
        row: np.void = seen.records[order[at]]
        return row


def spots_of(seen: Seen, ref: Reference) -> list[int]:
    """Return where a record has to be in a container: by its tables, or else by the reference.

    Args:
        seen: The container.
        ref: The record; its offset counts in its own generation only.
    """
    head = seen.head
    places = [table.place(ref.local_id) for _, table in head.tables] if head else []
    spots = [place for place in places if place is not None]
    return [*spots, ref.offset] if seen.place.generation == ref.generation else spots
