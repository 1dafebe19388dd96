"""One container of a generated store: records appended, runs ended, headers and tables sealed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from tests.windows_store.structures import (
    PAGE,
    RECORD_PADDING,
    TABLE_AT,
    container_header,
    padding_header,
    redirection_table,
    table_size,
)

__all__ = ["MAX_OFFSET", "Container", "SparseBytes", "Spot"]

MAX_OFFSET: Final = (1 << 32) - 1
APPENDED: Final = 0x01D7_CED0_0000_0000
SECOND: Final = 10_000_000


class SparseBytes:
    """Bytes with holes that read as zeros and cost nothing."""

    def __init__(self) -> None:
        self.size = 0
        self._runs: list[tuple[int, bytearray]] = []

    @property
    def holes(self) -> int:
        """How many bytes are in holes."""
        return self.size - sum(len(run) for _, run in self._runs)

    def append(self, data: bytes) -> int:
        """Add bytes at the end and return where they begin."""
        begin = self.size
        last, run = self._runs[-1] if self._runs else (0, bytearray())
        if self._runs and last + len(run) == begin:
            run.extend(data)
        else:
            self._runs.append((begin, bytearray(data)))
        self.size += len(data)
        return begin

    def skip(self, size: int) -> None:
        """Add a hole at the end."""
        self.size += size

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes, or fewer at the end."""
        end = min(offset + size, self.size)
        for begin, run in self._runs:
            if begin <= offset <= end <= begin + len(run):
                return bytes(memoryview(run)[offset - begin : end - begin])
        found = bytearray(max(0, end - offset))
        for begin, run in self._runs:
            left, right = max(offset, begin), min(end, begin + len(run))
            if left < right:
                found[left - offset : right - offset] = run[left - begin : right - begin]
        return bytes(found)

    def patch(self, offset: int, data: bytes) -> None:
        """Write over bytes that are there already.

        Raises:
            ValueError: They are not in one run.
        """
        for begin, run in self._runs:
            if begin <= offset and offset + len(data) <= begin + len(run):
                run[offset - begin : offset - begin + len(data)] = data
                return
        raise ValueError(f"{len(data)} bytes at {offset} were not written before")

    def write(self, path: Path) -> None:
        """Write a file with the same holes."""
        with path.open("wb") as file:
            for begin, run in self._runs:
                file.seek(begin)
                file.write(run)
            file.truncate(self.size)


class Spot(NamedTuple):
    """Where a record is: its offset and its size with the header."""

    offset: int
    size: int


class Container:
    """A container of one generation.

    Attributes:
        folder: ``Data``, ``Stream`` or ``Hotspot``.
        id: The container's number.
        generation: Its generation.
        image: Its bytes; call `seal` before looking.
        spots: Its records by LocalId, paddings not among them.
        next_local_id: That of the next record.
        begin: Where the first record is: 5000 if the tables have a page each.
        appended: LastAppendTime of the next run, as FILETIME.
    """

    def __init__(
        self,
        folder: str,
        container_id: int,
        generation: int,
        *,
        entries: int = 0,
        next_local_id: int = 1,
        appended: int = APPENDED,
    ) -> None:
        """Begin a container.

        Args:
            folder: Its folder.
            container_id: Its number.
            generation: Its generation.
            entries: For how many entries the redirection tables have room.
            next_local_id: LocalId of the first new record.
            appended: LastAppendTime of the first run; each run is a second later.
        """
        self.folder, self.id, self.generation = folder, container_id, generation
        self.image = SparseBytes()
        self.spots: dict[int, Spot] = {}
        self.next_local_id = next_local_id
        self.backup_at = TABLE_AT + table_size(entries)
        self.begin = TABLE_AT + 2 * table_size(entries)
        self.image.append(bytes(self.begin))
        self.redirect(())
        self.appended = appended
        self._sequence = 0
        self._sealed_size = 0

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"{self.id:08x}.{self.generation:08x}.ccc"

    def redirect(self, entries: Iterable[tuple[int, int]]) -> None:
        """Write both redirection tables."""
        table = redirection_table(entries)
        for at in (TABLE_AT, self.backup_at):
            self.image.patch(at, table)

    def take_local_id(self) -> int:
        """Return the LocalId of the next record."""
        local_id = self.next_local_id
        self.next_local_id += 1
        return local_id

    def room(self, size: int) -> int:
        """Return how long the container is after a record of ``size`` bytes."""
        return self._aligned() + size

    def append(self, local_id: int, record: bytes, *, missing: int = 0) -> int:
        """Add a record and return its offset.

        Args:
            local_id: Its number; one that is taken leaves the older record unreachable.
            record: Its bytes.
            missing: How many bytes of its payload are left a hole.

        Raises:
            ValueError: Its offset needs more than 32 bits.
        """
        gap = self._aligned() - self.image.size
        offset = self.image.append(bytes(gap) + record) + gap
        if offset > MAX_OFFSET:
            raise ValueError("a record behind 4 GiB")
        self.image.skip(missing)
        self.spots[local_id] = Spot(offset, len(record) + missing)
        return offset

    def end_run(self, upto: int | None = None) -> None:
        """End an append run: a padding fills up to the next page, or up to ``upto``.

        Raises:
            ValueError: ``upto`` is no aligned offset in front of which a padding fits.
        """
        gap = self._aligned() - self.image.size
        begin = self._aligned()
        if upto is None:
            upto = -(-begin // PAGE) * PAGE
            if upto == begin:
                self.image.append(bytes(gap))
                return
            if upto - begin < RECORD_PADDING:
                upto += PAGE
        if upto % 8:
            raise ValueError("a record begins at a multiple of 8")
        self.image.append(bytes(gap) + padding_header(upto - begin))
        rest = upto - self.image.size
        if rest < 16 * PAGE:
            self.image.append(bytes(rest))
        else:
            self.image.skip(rest)

    def seal(self) -> None:
        """End the run and write the ``Cthr`` copies; nothing if nothing was appended.

        As in real containers the copy at 0 stays one behind.
        """
        if self.image.size == self._sealed_size:
            return
        self.end_run()
        self._sequence += 1
        header = container_header(
            container_id=self.id,
            generation=self.generation,
            sequence=self._sequence,
            chunk_count=len(self.spots),
            next_local_id=self.next_local_id,
            valid_length=self.image.size,
            appended=self.appended,
            backup_at=self.backup_at,
        )
        older = self.image.read(PAGE, len(header)) if self._sequence > 1 else header
        for at, copy in ((0, older), (PAGE, header), (2 * PAGE, header)):
            self.image.patch(at, copy)
        self.appended += SECOND
        self._sealed_size = self.image.size

    def preallocate(self, size: int) -> None:
        """Make the file ``size`` bytes longer than its valid data; nothing can be added then."""
        self.seal()
        self.image.skip(size)
        self._sealed_size = self.image.size

    def record(self, local_id: int) -> bytes:
        """Return the bytes of a record."""
        return self.image.read(*self.spots[local_id])

    def compacted(self, generation: int, order: Iterable[int], *, lead: int = 0) -> "Container":
        """Return the next generation: the same LocalIds at other offsets, all in the table.

        Args:
            generation: Its number.
            order: LocalIds that survive, in the order of their new places.
            lead: Pages of padding in front of the first.
        """
        order = list(order)
        moved = Container(
            self.folder,
            self.id,
            generation,
            entries=len(order),
            next_local_id=self.next_local_id,
            appended=self.appended,
        )
        if lead:
            moved.end_run(moved.begin + lead * PAGE)
        for local_id in order:
            moved.append(local_id, self.record(local_id))
        moved.redirect(sorted((local_id, spot.offset) for local_id, spot in moved.spots.items()))
        moved.seal()
        return moved

    def _aligned(self) -> int:
        return -(-self.image.size // 8) * 8
