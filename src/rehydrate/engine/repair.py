"""Repair rounds: all walks of a phase go on together, at most four rounds."""

import functools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.engine.reads import Containers
from rehydrate.engine.records import Records, Sink
from rehydrate.engine.rounds import Round
from rehydrate.engine.session import Session
from rehydrate.errors import FormatError, RestoreError, StoreError
from rehydrate.formats.walk import (
    Answer,
    ListFolder,
    Read,
    RecordRef,
    RecordScanner,
    Request,
    Scan,
    StoreFormat,
    Walk,
)
from rehydrate.plan.coalesce import Extents
from rehydrate.plan.planner import Needs
from rehydrate.plan.ranges import Ranges, cover
from rehydrate.plan.rounds import RoundPlan
from rehydrate.values import StorePath

__all__ = ["repair"]

_MOST_ROUNDS: Final = 4
_MOST_STEPS: Final = 2 * _MOST_ROUNDS
"""Steps that only list folders are no rounds, but there is an end to them, too."""
# Small pieces, as a store may refuse a read that reaches beyond the end of the container.
_SCAN_PIECE: Final = 256 << 10
_MOST_READS: Final = 1 << 18
"""Reads of one walk: where they must be tiny, it covers less, as each read costs memory."""


def repair(
    session: Session,
    records: Records,
    sink: Sink,
    failed: Mapping[int, RestoreError],
    containers: Containers,
) -> dict[int, RestoreError]:
    """Look for failed records elsewhere, and give those found to the sink.

    Args:
        session: The job.
        records: The records of the phase.
        sink: Takes records that were found.
        failed: Need number and first error of each failed record.
        containers: What is known about containers.

    Returns:
        The needs that stay lost, with their first error; it names the place of the record.
    """
    containers.second_chance()
    walks = _Walks(records, sink, failed)
    # What a vendor calls not retryable is not asked twice, neither at its place nor by a walk.
    denied: dict[Request | tuple[StorePath, RecordRef], RestoreError] = {}
    for need, error in failed.items():
        if isinstance(error, StoreError) and not error.retryable:
            path, ref = records.path(need), records.ref(need)
            denied[Read(path, ref.offset, ref.length)] = denied[path, ref] = error
    rounds = 0
    answering: set[StorePath] = set()
    for _ in range(_MOST_STEPS):
        wanted = walks.take_wanted()
        reads = any(
            type(request) is not ListFolder for asked in wanted.values() for request in asked
        )
        if not wanted or (reads and rounds == _MOST_ROUNDS):
            break
        rounds += reads
        done = _RepairRound(session, records.format, containers, denied, walks)
        done.run(wanted)
        # Stale references may point beyond the end of a container, which is no fault of it: reads
        # of such places must not keep the next round from what the container does hold.
        answering |= done.answering
        containers.second_chance(answering)
    return walks.close()


class _Walks:
    """The walks of a phase: each is sent its answers and asks for more, until it ends."""

    def __init__(self, records: Records, sink: Sink, failed: Mapping[int, RestoreError]) -> None:
        self._records, self._sink = records, sink
        self._lost = dict(failed)
        self._wanted: dict[int, Sequence[Request]] = {}
        self._walks: dict[int, Walk] = {}
        for need in failed:
            self._walks[need] = records.format.repair(records.ref(need))
            self.send(need, None)

    def take_wanted(self) -> dict[int, Sequence[Request]]:
        """Return what each walk asks for next."""
        wanted, self._wanted = self._wanted, {}
        return wanted

    def send(self, need: int, answers: Sequence[Answer] | None) -> None:
        """Send a walk its answers; keep what it asks next, or the record that it found."""
        walk = self._walks[need]
        try:
            self._wanted[need] = next(walk) if answers is None else walk.send(answers)
        except StopIteration as end:
            taker = self._sink.open(np.array([need], np.int64))
            taker.put(0, end.value)
            taker.close()
            del self._walks[need], self._lost[need]
        except FormatError:
            del self._walks[need]

    def close(self) -> dict[int, RestoreError]:
        """Close all walks; return the needs that stay lost, with their first error."""
        for walk in self._walks.values():
            walk.close()
        return {need: self._placed(need, error) for need, error in self._lost.items()}

    def _placed(self, need: int, error: RestoreError) -> RestoreError:
        """Return the error with the place of the record, unless it tells of a read that holds it.

        One error stands for all records of a container that is not there, or was given up.
        """
        path, ref = self._records.path(need), self._records.ref(need)
        begin, length = error.offset, error.length or 0
        if begin is not None and begin < ref.offset + ref.length and ref.offset < begin + length:
            return error.at(container=path)
        placed = error.for_file(error.file or "")
        placed.file = error.file
        placed.container, placed.offset, placed.length = path, ref.offset, ref.length
        return placed


@attrs.frozen
class _Want:
    """One range that a repair round reads, and the request that it belongs to."""

    request: Request
    path: StorePath
    offset: int
    size: int


def _pieces(scans: Sequence[Scan], max_read: int) -> list[tuple[int, int]]:
    """Return offset and size of the pieces of a walk, which are read in reads of ``max_read``.

    None reaches across an end that one of the scans has: the store may refuse such a read, and it
    may be the end of the container.
    """
    start = min(scan.start for scan in scans)
    reach = start + _MOST_READS * max_read
    pieces = []
    for end in sorted({min(scan.end, reach) for scan in scans}):
        pieces += [(at, min(_SCAN_PIECE, end - at)) for at in range(start, end, _SCAN_PIECE)]
        start = max(start, end)
    return pieces


class _RepairRound:
    """Answers the requests of one round.

    Attributes:
        answering: Containers that gave some of the bytes that were asked for.
    """

    inline = True

    def __init__(
        self,
        session: Session,
        form: StoreFormat,
        containers: Containers,
        denied: Mapping[Request | tuple[StorePath, RecordRef], RestoreError],
        walks: _Walks,
    ) -> None:
        self._session, self._format, self._containers = session, form, containers
        self._denied, self._walks = denied, walks
        self._max_read = min(session.max_read, _SCAN_PIECE)
        self._answers: dict[Request, Answer] = {}
        self._scanners: dict[StorePath, tuple[RecordScanner, list[RecordRef]]] = {}
        self._scans: dict[tuple[StorePath, RecordRef], list[Scan]] = {}
        self._walked_for: Counter[StorePath] = Counter()
        self._scan_next: dict[StorePath, int] = {}
        self._scan_over: set[StorePath] = set()
        self._partial: dict[int, bytearray] = {}
        self._saved: set[Request] = set()
        self.answering: set[StorePath] = set()

    def run(self, wanted: Mapping[int, Sequence[Request]]) -> None:
        """Make one round of reads, and send each walk its answers as soon as it has them all.

        Args:
            wanted: What each walk asks for, by need.
        """
        self._asked = dict(wanted)
        self._askers: defaultdict[Request, list[int]] = defaultdict(list)
        for need, requests in wanted.items():
            for request in dict.fromkeys(requests):
                self._askers[request].append(need)
        self._users = {request: len(needs) for request, needs in self._askers.items()}
        self._missing = {need: len(set(requests)) for need, requests in wanted.items()}
        folders = [request for request in self._askers if isinstance(request, ListFolder)]
        for folder in sorted(folders, key=lambda request: request.folder):
            listing = functools.partial(self._session.calls.list_folder, folder.folder)
            self._answers[folder] = self._session.on_store_thread(listing)
            self._complete(folder)
        wants = self._wants(set(self._askers))
        if wants:
            self._read(wants)
        for need in list(self._asked):
            self._send(need)

    def _complete(self, request: Request) -> None:
        """Note that the answer to a request is whole; records must not pile up in memory."""
        for need in self._askers[request]:
            self._missing[need] -= 1
            if not self._missing[need]:
                self._send(need)

    def _send(self, need: int) -> None:
        requests = self._asked.pop(need)
        answers = [self._answers.get(request) for request in requests]
        for request in set(requests):
            self._users[request] -= 1
            if isinstance(request, Scan):
                self._walked_for[request.path] -= 1
            if not self._users[request]:
                self._answers.pop(request, None)
        self._walks.send(need, answers)

    def _wants(self, requests: "set[Request]") -> list[_Want]:
        wants: list[_Want] = []
        scans: dict[StorePath, list[Scan]] = {}
        for request in requests:
            if isinstance(request, ListFolder):
                continue
            key = (request.path, request.ref) if isinstance(request, Scan) else request
            gone = self._containers.given_up(request.path) or self._denied.get(key)
            if gone is not None:
                self._answers[request] = gone
            elif isinstance(request, Read):
                wants.append(_Want(request, request.path, request.offset, request.size))
            else:
                scans.setdefault(request.path, []).append(request)
        for path, group in scans.items():
            wants += self._walk(path, group)
        return sorted(wants, key=lambda want: (want.path, want.offset, want.size))

    def _walk(self, path: StorePath, group: list[Scan]) -> list[_Want]:
        """Prepare one walk for all that look for records in a container; return its pieces."""
        for scan in group:
            self._scans.setdefault((path, scan.ref), []).append(scan)
            self._walked_for[path] += len(self._askers[scan])
        refs = list(dict.fromkeys(scan.ref for scan in group))
        self._scanners[path] = (self._format.scanner(path, refs), refs)
        self._scan_next[path] = min(scan.start for scan in group)
        return [_Want(group[0], path, at, size) for at, size in _pieces(group, self._max_read)]

    def _read(self, wants: list[_Want]) -> None:
        self._all_wants = wants
        self._paths = sorted({want.path for want in wants})
        required = [want for want in wants if not isinstance(want.request, Scan)]
        Round(
            self._session,
            "repair",
            self._needs(required),
            self._paths,
            containers=self._containers,
            consumer=self,
            trim=self._cut_walks,
            max_read=self._max_read if self._scanners else None,
        ).run()

    def _needs(self, wants: list[_Want]) -> Needs:
        index = {path: number for number, path in enumerate(self._paths)}
        count = len(wants)
        return Needs(
            containers=tuple((number, 0) for number in range(len(self._paths))),
            container=np.array([index[want.path] for want in wants], np.uint32),
            offset=np.array([want.offset for want in wants], np.int64),
            length=np.array([want.size for want in wants], np.uint32),
            row=np.arange(count, dtype=np.int64),
            use_ptr=np.arange(count + 1, dtype=np.int64),
            use_row=np.arange(count, dtype=np.int64),
        )

    def _cut_walks(self, extents: Extents) -> Needs:
        """Return all wants; walks end where the order answer says that the container does."""
        self._wanted = []
        given: dict[StorePath, Ranges] = {}
        for number, path in enumerate(self._paths):
            mine = extents.container == number
            given[path] = cover(Ranges(extents.start[mine], extents.end[mine]))
        for want in self._all_wants:
            if isinstance(want.request, Scan):
                ranges = given[want.path]
                at = int(np.searchsorted(ranges.start, want.offset, side="right")) - 1
                reach = int(ranges.end[at]) - want.offset if at >= 0 else 0
                if reach > 0:
                    self._wanted.append(attrs.evolve(want, size=min(want.size, reach)))
            else:
                self._wanted.append(want)
        return self._needs(self._wanted)

    def start(self, plan: RoundPlan) -> None:
        """Keep the plan of the round."""
        self._plan = plan
        self._fragment_ptr = plan.fragment_ptr()

    def _parts(self, read: int) -> list[tuple[int, int, int, int]]:
        """Return ``(want, place in it, place in the read, size)`` of all that a read serves."""
        plan = self._plan
        parts = []
        for want in plan.need[int(plan.need_ptr[read]) : int(plan.need_ptr[read + 1])].tolist():
            source = self._wanted[want].offset - int(plan.read_offset[read])
            parts.append((want, 0, source, self._wanted[want].size))
        first, end = int(self._fragment_ptr[read]), int(self._fragment_ptr[read + 1])
        parts += zip(
            plan.fragment_need[first:end].tolist(),
            plan.fragment_at[first:end].tolist(),
            plan.fragment_source[first:end].tolist(),
            plan.fragment_size[first:end].tolist(),
            strict=True,
        )
        return sorted(parts)

    def wants(self, read: int) -> bool:
        """A read that only serves a walk that is over is not made.

        A walk is over at the end of its container, and once it has found everything.
        """
        return any(
            not isinstance(self._wanted[want].request, Scan)
            or (
                self._wanted[want].path not in self._scan_over
                and self._walked_for[self._wanted[want].path] > 0
            )
            for want, _, _, _ in self._parts(read)
        )

    def consume(self, batch: Sequence[tuple[int, memoryview]]) -> None:
        """Take bytes, on the store's thread, in the order of the reads."""
        for read, view in batch:
            self._take(read, view)

    def _take(self, read: int, view: memoryview) -> None:
        for want, at, source, size in self._parts(read):
            piece = view[source : source + size]
            request = self._wanted[want].request
            self.answering.add(self._wanted[want].path)
            if isinstance(request, Scan):
                self._feed(self._wanted[want].path, self._wanted[want].offset + at, piece)
                continue
            if size == self._wanted[want].size:
                self._answers[request] = bytes(piece)
                self._complete(request)
                continue
            whole = self._partial.setdefault(want, bytearray(self._wanted[want].size))
            whole[at : at + size] = piece
            # A later fragment overwrites this answer; a lost one leaves bytes that fail checks.
            self._answers[request] = bytes(whole)

    def _feed(self, path: StorePath, offset: int, piece: memoryview) -> None:
        scanner, refs = self._scanners[path]
        if offset != self._scan_next[path]:
            scanner = self._format.scanner(path, refs)
            self._scanners[path] = (scanner, refs)
        self._scan_next[path] = offset + len(piece)
        for number, record in scanner.feed(piece):
            for scan in self._scans[path, refs[number]]:
                self._found(scan, record)

    def _found(self, scan: Scan, record: bytes) -> None:
        """Send a record to the walks that look for it; it is proved, and must not wait in memory."""
        for need in self._askers[scan]:
            if need in self._asked:
                self._answers[scan] = record
                self._send(need)

    def salvage(self, read: int, view: memoryview) -> None:
        """Take what lies in the part that came; give the last piece of a container to its walk."""
        for want, at, source, size in self._parts(read):
            piece = view[source : source + size]
            request = self._wanted[want].request
            if not isinstance(request, Scan):
                if len(piece) == self._wanted[want].size:
                    self._answers[request] = bytes(piece)
                    self._saved.add(request)
            elif len(piece):
                self._feed(self._wanted[want].path, self._wanted[want].offset + at, piece)

    def lose(self, read: int, error: RestoreError) -> None:
        """Answer with the error; a walk that fails has met the end of its container."""
        for want, _, _, _ in self._parts(read):
            request = self._wanted[want].request
            if isinstance(request, Scan):
                self._scan_over.add(self._wanted[want].path)
            elif request not in self._saved:
                self._answers[request] = error

    def lose_container(self, container: int, error: RestoreError) -> None:
        """Answer all requests for a container that the order answer left out."""
        for want in self._all_wants:
            if want.path == self._paths[container] and not isinstance(want.request, Scan):
                self._answers[want.request] = error
