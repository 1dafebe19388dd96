"""Repair rounds: all walks of a phase go on together, at most four rounds."""

import functools
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
# Small pieces, as a store may refuse a read that reaches beyond the end of the container.
_SCAN_PIECE: Final = 256 << 10


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
        The needs that stay lost, with their first error.
    """
    containers.second_chance()
    lost = dict(failed)
    walks: dict[int, Walk] = {need: records.format.repair(records.ref(need)) for need in lost}
    answers: dict[int, Sequence[Answer] | None] = dict.fromkeys(walks)
    # What a vendor calls not retryable is not asked twice, neither at its place nor by a walk.
    denied: dict[Request | tuple[StorePath, RecordRef], RestoreError] = {}
    for need, error in failed.items():
        if isinstance(error, StoreError) and not error.retryable:
            path, ref = records.path(need), records.ref(need)
            denied[Read(path, ref.offset, ref.length)] = denied[path, ref] = error
    for number in range(_MOST_ROUNDS + 1):
        wanted = _advance(walks, answers, lost, sink)
        if not wanted or number == _MOST_ROUNDS:
            break
        answered = _RepairRound(session, records.format, containers, denied).run(
            {request for requests in wanted.values() for request in requests}
        )
        answers = {
            need: [answered[request] for request in requests] for need, requests in wanted.items()
        }
    for walk in walks.values():
        walk.close()
    return lost


def _advance(
    walks: dict[int, Walk],
    answers: Mapping[int, Sequence[Answer] | None],
    lost: dict[int, RestoreError],
    sink: Sink,
) -> dict[int, Sequence[Request]]:
    """Send each walk its answers and collect what it asks next; drop those that end."""
    wanted: dict[int, Sequence[Request]] = {}
    for need, walk in list(walks.items()):
        answer = answers.get(need)
        try:
            wanted[need] = next(walk) if answer is None else walk.send(answer)
        except StopIteration as end:
            taker = sink.open(np.array([need], np.int64))
            taker.put(0, end.value)
            taker.close()
            del walks[need], lost[need]
        except FormatError:
            del walks[need]
    return wanted


@attrs.frozen
class _Want:
    """One range that a repair round reads, and the request that it belongs to."""

    request: Request
    path: StorePath
    offset: int
    size: int


class _RepairRound:
    """Answers the requests of one round."""

    inline = True

    def __init__(
        self,
        session: Session,
        form: StoreFormat,
        containers: Containers,
        denied: Mapping[Request | tuple[StorePath, RecordRef], RestoreError],
    ) -> None:
        self._session, self._format, self._containers = session, form, containers
        self._denied = denied
        self._answers: dict[Request, Answer] = {}
        self._scanners: dict[StorePath, tuple[RecordScanner, list[Scan]]] = {}
        self._scan_next: dict[StorePath, int] = {}
        self._scan_over: set[StorePath] = set()
        self._partial: dict[int, bytearray] = {}
        self._saved: set[Request] = set()

    def run(self, requests: "set[Request]") -> dict[Request, Answer]:
        """Make one round of reads.

        Returns:
            An answer for each request.
        """
        folders = [request for request in requests if isinstance(request, ListFolder)]
        for folder in sorted(folders, key=lambda request: request.folder):
            listing = functools.partial(self._session.calls.list_folder, folder.folder)
            self._answers[folder] = self._session.on_store_thread(listing)
        wants = self._wants(requests)
        if wants:
            self._read(wants)
        return {request: self._answers.get(request) for request in requests}

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
            scanner = self._format.scanner(path, [scan.ref for scan in group])
            self._scanners[path] = (scanner, group)
            start, end = min(s.start for s in group), max(s.end for s in group)
            self._scan_next[path] = start
            wants += [
                _Want(group[0], path, at, min(_SCAN_PIECE, end - at))
                for at in range(start, end, _SCAN_PIECE)
            ]
        return sorted(wants, key=lambda want: (want.path, want.offset, want.size))

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
            max_read=min(self._session.max_read, _SCAN_PIECE) if self._scanners else None,
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
        """A read that only serves a walk beyond the end of its container is not made."""
        return any(
            not isinstance(self._wanted[want].request, Scan)
            or self._wanted[want].path not in self._scan_over
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
            if isinstance(request, Scan):
                self._feed(self._wanted[want].path, self._wanted[want].offset + at, piece)
                continue
            whole = self._partial.setdefault(want, bytearray(self._wanted[want].size))
            whole[at : at + size] = piece
            # A later fragment overwrites this answer; a lost one leaves bytes that fail checks.
            self._answers[request] = bytes(whole)

    def _feed(self, path: StorePath, offset: int, piece: memoryview) -> None:
        scanner, group = self._scanners[path]
        if offset != self._scan_next[path]:
            scanner = self._format.scanner(path, [scan.ref for scan in group])
            self._scanners[path] = (scanner, group)
        self._scan_next[path] = offset + len(piece)
        for number, record in scanner.feed(piece):
            self._answers.setdefault(group[number], record)

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
