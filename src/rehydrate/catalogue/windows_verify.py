"""Verifying the chunk stores of a Windows volume: every byte, and every file that needs it.

The stubs come first, as columns; then the ``Stream`` containers, whose maps say which chunks there
must be and how large they are; then ``Data`` and ``Hotspot``, block by block. What is left are the
references without a good record: each is brought home to the damage that it is due to, and only
then the maps are read again, to name the files. Nothing is written anywhere.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import attrs
import numpy as np

from rehydrate.catalogue.windows import VolumeCatalogue
from rehydrate.catalogue.windows_blame import Blame, Reference
from rehydrate.catalogue.windows_damage import (
    BrokenFile,
    Finding,
    OrphanStubs,
    WindowsCounts,
    WindowsVerifyReport,
)
from rehydrate.catalogue.windows_heads import ContainerPlace, PatientReader
from rehydrate.catalogue.windows_hidden import hidden_records
from rehydrate.catalogue.windows_stubs import NO_PARTS, Parts, StubFiles, read_stubs
from rehydrate.catalogue.windows_tables import (
    BAD,
    BY_CHECKSUM,
    BY_DIGEST,
    BY_HEADER,
    DATA_FOLDER,
    FOLDERS,
    HOTSPOT_FOLDER,
    RECORD_DTYPE,
    STREAM_FOLDER,
    WANTED_DTYPE,
    Copies,
    References,
    Sizes,
    keys_of,
)
from rehydrate.catalogue.windows_walks import Seen, Walker
from rehydrate.chunks import Ints, Rows
from rehydrate.errors import CorruptMetadataError, FormatError, StoreError
from rehydrate.formats.walk import Limits
from rehydrate.formats.windows.layout import (
    KIND_DATA,
    KIND_STREAM,
    STREAM_HEADER_SIZE,
    parse_container_name,
)
from rehydrate.formats.windows.maps import decode_map
from rehydrate.formats.windows.walking import FoundRecord, WalkFault, said
from rehydrate.protocols import BackupStore
from rehydrate.stores.volume import ChunkStore
from rehydrate.values import MAX_OFFSET, store_folder

__all__ = ["bytes_to_verify", "verify_volume"]

_MOST_JOBS: Final = 8
_LIMITS: Final = Limits()
_FARTHEST: Final = np.uint64(MAX_OFFSET)

_Lost = dict[tuple[int, int, int, bytes], int]
"""Position of the finding by container, LocalId, size and digest of a chunk."""


def _nothing(_size: int) -> None:
    return


def bytes_to_verify(catalogue: VolumeCatalogue, version: int) -> int:
    """Return the bytes of all live containers of a version: what ``tell`` adds up to, or less.

    Args:
        catalogue: The volume.
        version: Number of the version.
    """
    stores = catalogue.volume(version).chunk_stores()
    return sum(place.size for store in stores for place in _places(store))


def verify_volume(
    catalogue: VolumeCatalogue,
    version: int,
    *,
    stubs: bool = True,
    read_data: bool = True,
    jobs: int = 0,
    tell: Callable[[int], None] = _nothing,
) -> WindowsVerifyReport:
    """Verify the chunk stores of a volume.

    Every live container of every store on the volume is walked from its first record to its valid
    data length. A damaged record whose bytes are somewhere else in the store breaks no file, as a
    restore finds them there. Partial recall is not looked at: a file counts as broken even where
    its stub holds newer bytes of its own over the chunk that is lost. What the volume itself cannot
    read (folders, say) is in its :attr:`~rehydrate.stores.volume.Volume.problems`.

    Args:
        catalogue: The volume.
        version: Number of the version.
        stubs: Also read all stubs, to name the files that damage breaks.
        read_data: Read every chunk; else their headers, and all stream maps.
        jobs: Threads that check; 0 = one for each processor, at most 8. One thread reads.
        tell: Called with the number of bytes after each stretch that was walked.

    Raises:
        RequestError: There is no such version.
        StoreError: The volume cannot be read, or has neither a chunk store nor stubs.
        FormatError: It is no volume that we know.
    """
    volume = catalogue.volume(version)
    found = volume.chunk_stores()
    files = StubFiles()
    if stubs:
        files = read_stubs(volume, {each.store for each in found}, _LIMITS)
    if not found and not len(files.paths) and not files.broken:
        raise StoreError(f"{catalogue.source} has no chunk store", code="volume.no-store")
    jobs = jobs or min(os.cpu_count() or 1, _MOST_JOBS)
    runs = []
    with ThreadPoolExecutor(jobs, thread_name_prefix="verify") as executor:
        for each in found:
            store = volume.store(each.store)
            walker = Walker(store, executor, jobs=jobs, tell=tell)
            parts = files.parts.get(each.store, NO_PARTS) if stubs else None
            runs.append(_StoreVerification(each, store, walker, parts, read_data=read_data))
            runs[-1].run()
    damage = [finding for run in runs for finding in run.findings(files)]
    broken = [*files.broken, *(one for run in runs for one in run.broken(files))]
    elsewhere = catalogue.stores(version).keys()
    return WindowsVerifyReport(
        version=version,
        read_data=read_data,
        stubs=stubs,
        counts=_counts(runs, files),
        damage=tuple(sorted(damage, key=lambda one: (one.container, one.offset, one.check))),
        files=tuple(sorted(broken, key=lambda one: one.path)),
        orphans=tuple(
            OrphanStubs(
                store=str(store),
                elsewhere=store in elsewhere,
                files=tuple(sorted(files.paths[number] for number in numbers)),
            )
            for store, numbers in sorted(files.orphans.items())
        ),
        notices=tuple(notice for run in runs for notice in run.notices()),
    )


def _counts(runs: Sequence["_StoreVerification"], files: StubFiles) -> WindowsCounts:
    total = WindowsCounts()
    for run in runs:
        total += run.counts()
    return attrs.evolve(total, files=total.files + len(files.broken))


def _places(store: ChunkStore) -> list[ContainerPlace]:
    """Return the live containers of a store, in the order of :data:`FOLDERS`."""
    above = len(store_folder(store.store)) + 1
    wanted = {name.casefold(): number for number, name in enumerate(FOLDERS)}
    found = []
    for file in store.files:
        folder, _, name = file.path[above:].partition("/")
        number, parsed = wanted.get(folder.casefold()), parse_container_name(name)
        if number is not None and parsed is not None:
            found.append((number, *parsed, file))
    return [
        ContainerPlace(
            number=index,
            path=file.path,
            folder=folder,
            container=container,
            generation=generation,
            size=file.size,
        )
        for index, (folder, container, generation, file) in enumerate(
            sorted(found, key=lambda one: one[:3])
        )
    ]


class _StoreVerification:
    """The verification of one chunk store."""

    def __init__(
        self,
        found: ChunkStore,
        store: BackupStore,
        walker: Walker,
        parts: Parts | None,
        *,
        read_data: bool,
    ) -> None:
        self._prefix = store_folder(found.store)
        self._store = store
        self._walker = walker
        self._parts = parts
        self._read_data = read_data
        self._places = _places(found)
        self._seen: list[Seen] = []
        self._references = References()
        self._wanted: Rows = np.zeros(0, WANTED_DTYPE)
        self._records: Rows = np.zeros(0, RECORD_DTYPE)
        self._blame = Blame(self._prefix, ())
        self._first: dict[int, tuple[int, int]] = {}

    def run(self) -> None:
        """Walk everything, then find out what damage means."""
        for place in self._of(STREAM_FOLDER):
            self._seen.append(self._walker.walk(place, take_map=self._take_map))
        maps, chosen = self._rows(STREAM_FOLDER), np.zeros(0, np.int64)
        parts, copies = self._parts, None
        if parts is not None:
            walked = len(maps)
            maps, copies = self._resolve(parts.wanted, maps, STREAM_FOLDER)
            chosen = np.where(copies.direct < 0, copies.other, copies.direct)
            away = ((copies.direct < 0) | (copies.direct >= walked)) & ~copies.lost
            for number in np.flatnonzero(away).tolist():
                if not self._adopt(parts, number, maps[chosen[number]]):
                    copies.direct[number] = copies.other[number] = chosen[number] = -1
        self._wanted = self._references.rows()
        sizes = Sizes(self._wanted)
        for place in (*self._of(DATA_FOLDER), *self._of(HOTSPOT_FOLDER)):
            seen = self._walker.walk(place, sizes=sizes, payloads=self._read_data)
            self._seen.append(seen)
        wanted = self._wanted[self._wanted["live"] != 0]
        chunks = np.concatenate([self._rows(DATA_FOLDER), self._rows(HOTSPOT_FOLDER)])
        self._records, found = self._resolve(wanted, chunks, DATA_FOLDER)
        self._blame = Blame(self._prefix, self._seen)
        if parts is not None and copies is not None:
            self._settle(parts.wanted, copies, maps, STREAM_FOLDER)
            for number in np.flatnonzero(copies.lost).tolist():
                index = self._blame.lost(Reference.of(parts.wanted[number]), STREAM_FOLDER)
                self._break(int(parts.file[number]), int(parts.begin[number]), index)
        lost = self._lost_chunks(wanted, found)
        if lost and parts is not None:
            self._name_files(parts, chosen, maps, lost)

    def findings(self, files: StubFiles) -> Iterator[Finding]:
        """Yield all damage, with the files that it breaks."""
        for index, finding in enumerate(self._blame.result()):
            numbers = self._blame.files.get(index, ())
            paths = tuple(sorted(files.paths[number] for number in numbers))
            yield attrs.evolve(finding, files=paths)

    def broken(self, files: StubFiles) -> Iterator[BrokenFile]:
        """Yield the files that cannot be restored whole, each with its first damage."""
        for number, (at, index) in self._first.items():
            finding = self._blame.findings[index]
            yield BrokenFile(
                path=files.paths[number], check=finding.check, reason=str(finding), at=at
            )

    def notices(self) -> list[str]:
        """Return what is worth knowing."""
        return [notice for seen in self._seen for notice in seen.notices]

    def counts(self) -> WindowsCounts:
        """Return what was looked at."""
        maps, chunks = self._rows(STREAM_FOLDER), self._records
        states = np.bincount(np.concatenate([maps["state"], chunks["state"]]), minlength=4)
        others = sum(seen.others for seen in self._seen)
        live = self._wanted[self._wanted["live"] != 0]
        idle = (chunks["state"] != BAD) & (chunks["kind"] == KIND_DATA)
        idle &= (chunks["folder"] == DATA_FOLDER) & ~np.isin(keys_of(chunks), keys_of(live))
        unnamed, files = 0, 0
        if self._parts is not None:
            named = np.isin(keys_of(maps), self._parts.keys)
            unnamed = int(((maps["state"] != BAD) & ~named & (maps["kind"] == KIND_STREAM)).sum())
            files = self._parts.files
        return WindowsCounts(
            stores=1,
            containers=len(self._seen),
            bytes=sum(seen.end for seen in self._seen),
            chunks=int((chunks["folder"] == DATA_FOLDER).sum()),
            maps=len(maps),
            hotspots=int((chunks["folder"] == HOTSPOT_FOLDER).sum()),
            paddings=sum(seen.paddings for seen in self._seen),
            others=others,
            compressed=sum(seen.compressed for seen in self._seen),
            by_digest=int(states[BY_DIGEST]),
            by_checksum=int(states[BY_CHECKSUM]),
            by_header=int(states[BY_HEADER]),
            unreferenced_chunks=int(idle.sum()),
            unreferenced_maps=unnamed,
            files=files,
            whole=files - len(self._first),
        )

    def _of(self, folder: int) -> list[ContainerPlace]:
        return [place for place in self._places if place.folder == folder]

    def _rows(self, folder: int) -> Rows:
        """Return the records of all containers of a folder."""
        rows = [seen.records for seen in self._seen if seen.place.folder == folder]
        return np.concatenate([np.zeros(0, RECORD_DTYPE), *rows])

    def _take_map(self, place: ContainerPlace, record: FoundRecord) -> WalkFault | None:
        """Check a stream map against the stubs that name it, and note what it refers to."""
        header, ranges = record.header, [(-1, -1)]
        live = self._parts is None
        if self._parts is not None:
            key = place.container << 32 | header.local_id
            named = self._parts.of_record(key, header.digest)
            live, ranges = bool(named), named or ranges
        wrong: list[FormatError] = []
        for begin, end in ranges:
            try:
                wanted = _chunks_of(record.body[header.header_size :], begin, end)
            except FormatError as error:
                wrong.append(error)
            else:
                wanted["live"] = live
                self._references.add(wanted)
                return None
        expected, found = said(wrong[0])
        return WalkFault(
            check=wrong[0].code,
            offset=record.offset,
            length=header.size,
            local_id=header.local_id,
            expected=expected,
            found=found,
        )

    def _resolve(self, wanted: Rows, records: Rows, folder: int) -> tuple[Rows, Copies]:
        """Return the records, hidden ones behind them, and which of them references lead to."""
        copies = Copies.of(wanted, records, folder)
        seen = [one for one in self._seen if one.place.folder == folder]
        rows = list(hidden_records(self._store, seen, wanted[copies.lost]))
        if not rows:
            return records, copies
        records = np.concatenate([records, *rows])
        return records, Copies.of(wanted, records, folder)

    def _adopt(self, parts: Parts, number: int, record: np.void) -> bool:
        """Take the references of a map that the walk did not know to be that of a part."""
        begin, end = int(parts.begin[number]), int(parts.end[number])
        try:
            wanted = _chunks_of(self._payload(record), begin, end)
        except (FormatError, StoreError):
            return False
        wanted["live"] = 1
        self._references.add(wanted)
        return True

    def _payload(self, record: np.void) -> bytes:
        """Read the payload of a stream map once more."""
        place = self._places[int(record["place"])]
        offset = int(record["offset"]) + STREAM_HEADER_SIZE
        size = int(record["length"]) - STREAM_HEADER_SIZE
        return PatientReader(self._store, place).read(offset, size)

    def _settle(self, wanted: Rows, copies: Copies, records: Rows, folder: int) -> None:
        """Note where good records are for references whose own record is lost or damaged."""
        for number in np.flatnonzero((copies.direct < 0) & (copies.other >= 0)).tolist():
            copy = self._place_of(records[copies.other[number]])
            self._blame.healed(Reference.of(wanted[number]), folder, copy)
        home = records[(records["state"] == BAD) & (records["folder"] == folder)]
        twins = (copies.direct >= 0) & np.isin(keys_of(wanted), keys_of(home))
        for number in np.flatnonzero(twins).tolist():
            copy = self._place_of(records[copies.direct[number]])
            self._blame.twin(Reference.of(wanted[number]), folder, copy)

    def _place_of(self, record: np.void) -> str:
        path = self._places[int(record["place"])].path
        return f"{path[len(self._prefix) + 1 :]} at {record['offset']}"

    def _lost_chunks(self, wanted: Rows, copies: Copies) -> _Lost:
        """Return the chunks that are needed and nowhere, with the finding that each is due to."""
        self._settle(wanted, copies, self._records, DATA_FOLDER)
        lost: _Lost = {}
        for row in wanted[copies.lost]:
            ref = Reference.of(row)
            index = self._blame.lost(ref, DATA_FOLDER)
            lost[ref.container, ref.local_id, ref.size, ref.digest] = index
        return lost

    def _name_files(self, parts: Parts, chosen: Ints, maps: Rows, lost: _Lost) -> None:
        """Read the maps of all files once more, and name the files that need what is lost."""
        keys = np.unique(np.array([key[0] << 32 | key[1] for key in lost], np.uint64))
        order = np.argsort(chosen, kind="stable")
        order = order[chosen[order] >= 0]
        records, firsts = np.unique(chosen[order], return_index=True)
        for record, members in zip(records, np.split(order, firsts[1:]), strict=True):
            rows = decode_map(self._payload(maps[record]))
            mine = keys_of(rows)
            spots = np.minimum(np.searchsorted(keys, mine), len(keys) - 1)
            starts = [int(parts.begin[members[0]]), *rows["end"].tolist()]
            for number in np.flatnonzero(keys[spots] == mine).tolist():
                row, at = rows[number], starts[number]
                key = int(row["container"]), int(row["local_id"]), int(row["end"]) - at
                index = lost.get((*key, row["digest"].tobytes()), -1)
                for part in members.tolist() if index >= 0 else ():
                    self._break(int(parts.file[part]), at, index)

    def _break(self, file: int, at: int, index: int) -> None:
        self._blame.files.setdefault(index, set()).add(file)
        if file not in self._first or at < self._first[file][0]:
            self._first[file] = at, index


def _chunks_of(payload: memoryview | bytes, begin: int, end: int) -> Rows:
    """Return the references of a stream map (``live`` not set).

    Args:
        payload: The map.
        begin: First byte of its part; negative = not known, and neither is the size of the first
            chunk: it is right for a first part.
        end: End of its part.

    Raises:
        FormatError: It does not tile its part, or a chunk is larger than any reader accepts.
    """
    rows = decode_map(payload)
    ends = rows["end"]
    starts = np.concatenate([np.array([max(begin, 0)], np.uint64), ends])[:-1]
    last = int(ends[-1]) if len(ends) else max(begin, 0)
    if begin >= 0 and last != end:
        raise CorruptMetadataError(f"end of a map: expected {end}, found {last}", code="map.end")
    wrong = np.flatnonzero((ends <= starts) | (ends > _FARTHEST))
    if len(wrong):
        at = int(wrong[0])
        text = f"end of a chunk: expected more than {starts[at]}, found {ends[at]}"
        raise CorruptMetadataError(text, code="map.order")
    sizes = ends - starts
    if begin < 0 and len(sizes) and sizes[0] > _LIMITS.chunk_size:
        sizes[0] = 0
    if np.any(sizes > _LIMITS.chunk_size):
        found = int(sizes.max())
        text = f"size of a chunk: expected at most {_LIMITS.chunk_size}, found {found}"
        raise CorruptMetadataError(text, code="map.chunk-size")
    wanted: Rows = np.zeros(len(rows), WANTED_DTYPE)
    for name in ("container", "local_id", "generation", "offset", "length", "digest"):
        wanted[name] = rows[name]
    wanted["size"] = sizes
    wanted["sure"] = 1
    if begin < 0:
        wanted["sure"][:1] = 0
    return wanted
