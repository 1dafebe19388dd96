"""Verifying a store: that every reference resolves, and that every byte is what was stored."""

import os
from collections.abc import Callable, Iterator
from typing import Final

import attrs
import numpy as np

from rehydrate.catalogue.damage import (
    DamagedFile,
    DamagedVersion,
    VerifyReport,
)
from rehydrate.catalogue.inventory import Inventory, read_records, take_inventory
from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.catalogue.reading import read_exactly
from rehydrate.chunks import Bools, ChunkTable, Rows
from rehydrate.errors import RestoreError
from rehydrate.formats.maps import check_maps
from rehydrate.formats.native.catalogue import ContainerState, Manifest, tree_key
from rehydrate.formats.native.container import container_path
from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.native.layout import RECORD_SIZE
from rehydrate.formats.walk import DATA, FILE, STREAM, Limits, StubTable

__all__ = ["verify_catalogue", "verify_store"]

_MOST_JOBS: Final = 8
_LIMITS: Final = Limits(chunk_size=16 << 20)


def _nothing(_size: int) -> None:
    return


def verify_store(
    path: str | os.PathLike[str],
    *,
    read_data: bool = False,
    jobs: int = 0,
    tell: Callable[[int], None] = _nothing,
) -> VerifyReport:
    """Verify a store.

    Headers, commit chains, manifests, segments and stubs are always checked, and every reference
    must lead to a record that says what the reference says.

    Args:
        path: Directory of the store.
        read_data: Also read every record and verify its digest.
        jobs: Threads for that; 0 = one for each processor, at most 8.
        tell: Called with the number of bytes after each batch of records read.

    Raises:
        StoreError: There is no such store.
        FormatError: Its configuration is damaged or newer than this release.
    """
    with NativeCatalogue.open(path) as catalogue:
        return verify_catalogue(catalogue, read_data=read_data, jobs=jobs, tell=tell)


def verify_catalogue(
    catalogue: NativeCatalogue,
    *,
    read_data: bool = False,
    jobs: int = 0,
    tell: Callable[[int], None] = _nothing,
) -> VerifyReport:
    """Verify a store that is open; see :func:`verify_store`.

    Args:
        catalogue: The store.
        read_data: Also read every record and verify its digest.
        jobs: Threads for that; 0 = one for each processor, at most 8.
        tell: Called with the number of bytes after each batch of records read.
    """
    return _Verification(catalogue).run(
        read_data=read_data, jobs=jobs or min(os.cpu_count() or 1, _MOST_JOBS), tell=tell
    )


@attrs.frozen(eq=False)
class _Segment:
    """What was found out about a segment; versions that share it share this."""

    paths: list[bytes]
    faults: dict[bytes, str]


class _Verification:
    def __init__(self, catalogue: NativeCatalogue) -> None:
        self._catalogue = catalogue
        self._versions: list[DamagedVersion] = []
        self._files: list[DamagedFile] = []
        self._notices: list[str] = []
        self._segments: dict[bytes, _Segment | str] = {}
        self._inventory = Inventory()

    def run(self, *, read_data: bool, jobs: int, tell: Callable[[int], None]) -> VerifyReport:
        catalogue = self._catalogue
        manifests = list(self._manifests())
        self._inventory = take_inventory(catalogue.store, catalogue.store_id, _farthest(manifests))
        bytes_read = 0
        if read_data:
            bytes_read = read_records(catalogue.store, self._inventory, jobs, tell)
        for manifest in manifests:
            self._version(manifest)
        inventory = self._inventory
        return VerifyReport(
            versions=len(catalogue.numbers()),
            entries=sum(manifest.entries for manifest in manifests),
            containers=len(inventory.containers),
            records=sum(len(container.offsets) for container in inventory.containers.values()),
            read_data=read_data,
            bytes_read=bytes_read,
            damaged_containers=tuple(sorted(inventory.damaged)),
            damaged_records=tuple(sorted(inventory.records)),
            damaged_files=tuple(sorted(self._files)),
            damaged_versions=tuple(sorted(self._versions)),
            notices=(*self._notices, *inventory.notices),
        )

    def _manifests(self) -> Iterator[Manifest]:
        for number in self._catalogue.numbers():
            try:
                manifest = self._catalogue.manifest(number)
            except RestoreError as error:
                self._versions.append(DamagedVersion(number, str(error)))
                continue
            if manifest.partial:
                self._notices.append(f"version {number} is partial: its run did not end")
            yield manifest

    def _version(self, manifest: Manifest) -> None:
        before, last_key = 0, b""
        for number, row in enumerate(manifest.segments):
            segment = self._segment(row)
            count, before = int(row["end"]) - before, int(row["end"])
            first = manifest.first_paths[number]
            if isinstance(segment, str):
                self._damaged(manifest, f"the entries from {first!r} on are lost: {segment}")
                continue
            keys = [tree_key(segment.paths[0]), tree_key(segment.paths[-1])]
            if len(segment.paths) != count or segment.paths[0] != first or keys[0] <= last_key:
                self._damaged(manifest, f"the segment from {first!r} on does not belong there")
            last_key = keys[1]
            self._files += [
                DamagedFile(manifest.version, path, reason)
                for path, reason in segment.faults.items()
            ]

    def _damaged(self, manifest: Manifest, reason: str) -> None:
        self._versions.append(DamagedVersion(manifest.version, reason))

    def _segment(self, row: np.void) -> _Segment | str:
        key = row.tobytes()[:24] + row["digest"].tobytes()
        if key not in self._segments:
            one = np.array([row], row.dtype)
            try:
                paths, stubs = self._catalogue.segment(row)
                if not self._resolve_plain(one)[0]:
                    self._segments[key] = "no committed record stands where the manifest says"
                else:
                    self._segments[key] = _Segment(paths, self._faults(paths, stubs))
            except RestoreError as error:
                self._segments[key] = str(error)
        return self._segments[key]

    def _faults(self, paths: list[bytes], stubs: list[bytes]) -> dict[bytes, str]:
        """Return what is wrong with the entries of a segment, by path."""
        table = NATIVE.decode_stubs(stubs, _LIMITS)
        wrong: dict[int, str] = {number: str(error) for number, error in table.errors.items()}
        identity = self._catalogue.store_id.bytes
        for number, stub in enumerate(stubs):
            if number not in wrong and NATIVE.store_key(stub) != identity:
                wrong[number] = "the stub belongs to another store"
        maps = [self._map_of(table, number, wrong) for number in range(len(stubs))]
        row_ptr = np.zeros(len(maps) + 1, np.int64)
        np.cumsum([len(rows) for rows in maps], out=row_ptr[1:])
        chunks = ChunkTable(np.concatenate(maps), row_ptr)
        files = np.where(table.kind == FILE, table.size, 0)
        for number, error in check_maps(chunks, files, _LIMITS).items():
            wrong.setdefault(number, str(error))
        stored = np.flatnonzero(chunks.stored())
        sizes = chunks.rows["end"].astype(np.int64) - chunks.starts()
        good = self._inventory.resolve(DATA, chunks.rows[stored], sizes[stored])
        owners = chunks.file_of_row()
        for index in stored[~good].tolist():
            row = chunks.rows[index]
            place = container_path(DATA, int(row["container"]), int(row["generation"]))
            wrong.setdefault(
                int(owners[index]), f"the chunk at offset {row['offset']} of {place} is lost"
            )
        return {paths[number]: reason for number, reason in sorted(wrong.items())}

    def _resolve_plain(self, rows: Rows) -> Bools:
        """Resolve records of a stream container: they are stored plain."""
        sizes = rows["length"].astype(np.int64) - RECORD_SIZE
        return self._inventory.resolve(STREAM, rows, sizes)

    def _map_of(self, table: StubTable, number: int, wrong: dict[int, str]) -> Rows:
        """Return the map rows of an entry; none if its map cannot be read."""
        rows = table.rows[table.row_ptr[number] : table.row_ptr[number + 1]]
        if number in wrong:
            return rows[:0]
        if not table.in_parts[number]:
            return rows
        try:
            parts = [self._part(row) for row in rows]
        except RestoreError as error:
            wrong[number] = f"its stream map is lost: {error}"
            return rows[:0]
        if not self._resolve_plain(rows).all():
            wrong[number] = "its stream map is no committed record"
        return np.concatenate(parts)

    def _part(self, row: np.void) -> Rows:
        length = int(row["length"])
        path = container_path(STREAM, int(row["container"]), int(row["generation"]))
        record = read_exactly(self._catalogue.store, path, int(row["offset"]), length)
        payload = NATIVE.decoder(STREAM).decode(
            memoryview(record),
            int(row["local_id"]),
            length - RECORD_SIZE,
            row["digest"].tobytes(),
        )
        return NATIVE.decode_map(payload)


def _farthest(manifests: list[Manifest]) -> dict[tuple[str, int, int], ContainerState]:
    states: dict[tuple[str, int, int], ContainerState] = {}
    for manifest in manifests:
        for state in manifest.containers:
            key = (state.kind, state.container, state.generation)
            if key not in states or states[key].valid_length < state.valid_length:
                states[key] = state
    return states
