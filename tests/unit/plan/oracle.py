"""Small worlds for the planner, and slow, obvious answers to compare with."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from rehydrate.chunks import HOLE, ROW_DTYPE, ZERO, Bools, ChunkTable
from rehydrate.plan.coalesce import Extents
from rehydrate.plan.planner import Needs
from rehydrate.plan.rounds import RoundPlan


class Row(NamedTuple):
    """One row of a stream map; ``size`` is logical."""

    container: int
    offset: int
    length: int = 10
    size: int = 100
    local_id: int = 0
    digest: int = 0
    generation: int = 0


def zeros(size: int) -> Row:
    return Row(0, 0, 0, size, ZERO)


def hole(size: int) -> Row:
    return Row(0, 0, 0, size, HOLE)


def table_of(files: Sequence[Sequence[Row]]) -> ChunkTable:
    rows = np.zeros(sum(len(file) for file in files), ROW_DTYPE)
    row_ptr = [0]
    at = 0
    for file in files:
        end = 0
        for row in file:
            end += row.size
            digest = row.digest.to_bytes(4, "little") * 8
            place = (row.container, row.generation, row.offset, row.local_id, row.length)
            rows[at] = (*place, end, digest)
            at += 1
        row_ptr.append(at)
    return ChunkTable(rows=rows, row_ptr=np.array(row_ptr, np.int64))


def needs_of(records: Iterable[tuple[int, int, int]], containers: int) -> Needs:
    """Make needs of ``(container index, offset, length)``; each is wanted by one row."""
    ordered = sorted(records)
    columns = np.array(ordered, np.int64).reshape(-1, 3).T
    rows = np.arange(len(ordered))
    return Needs(
        containers=tuple((index + 1, 0) for index in range(containers)),
        container=columns[0].astype(np.uint32),
        offset=columns[1].copy(),
        length=columns[2].astype(np.uint32),
        row=rows,
        use_ptr=np.arange(len(ordered) + 1),
        use_row=rows.astype(np.uint32),
    )


Identity = tuple[int, int, int, int, int, bytes, int]


def expected_uses(table: ChunkTable, wanted: Bools | None) -> dict[Identity, list[int]]:
    """Group rows with a dict: identity of the record -> rows that want it."""
    uses: dict[Identity, list[int]] = {}
    for index in range(len(table.rows)):
        if table.rows[index]["container"] == 0 or (wanted is not None and not wanted[index]):
            continue
        uses.setdefault(identity(table, index), []).append(index)
    return uses


def identity(table: ChunkTable, index: int) -> Identity:
    row = table.rows[index]
    return (
        int(row["container"]),
        int(row["generation"]),
        int(row["offset"]),
        int(row["length"]),
        int(row["local_id"]),
        bytes(row["digest"]),
        int(row["end"]) - int(table.starts()[index]),
    )


def check_needs(table: ChunkTable, wanted: Bools | None, needs: Needs) -> None:
    """Compare needs with the dict, and check their order."""
    got: dict[Identity, list[int]] = {}
    for index in range(len(needs)):
        uses = needs.use_row[needs.use_ptr[index] : needs.use_ptr[index + 1]].tolist()
        assert uses == sorted(uses)
        assert uses[0] == needs.row[index]
        found = identity(table, uses[0])
        assert found[:2] == needs.containers[needs.container[index]]
        assert found[2:4] == (needs.offset[index], needs.length[index])
        assert found not in got
        got[found] = uses
    assert got == expected_uses(table, wanted)
    places = list(zip(needs.container.tolist(), needs.offset.tolist(), strict=True))
    assert places == sorted(places)
    assert set(needs.containers) == {found[:2] for found in got}
    assert len(set(needs.containers)) == len(needs.containers)


Extent = tuple[int, int, int]


class _Bytes:
    """Counts how often each needed byte is read, and follows each need until it is complete."""

    def __init__(self, needs: Needs, given: list[Extent], missing: set[int]) -> None:
        self.needs = needs
        self.given = given
        self.times: dict[tuple[int, int], int] = {}
        self.got = [bytearray(length) for length in needs.length.tolist()]
        for container, offset, length in self.records():
            if container not in missing:
                for byte in range(offset, offset + length):
                    self.times[container, byte] = 0

    def records(self) -> list[tuple[int, int, int]]:
        columns = (self.needs.container, self.needs.offset, self.needs.length)
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def owner(self, container: int, byte: int) -> Extent:
        return next(one for one in self.given if one[0] == container and one[1] <= byte < one[2])

    def deliver(self, need: int, at: int, size: int) -> None:
        part = self.got[need][at : at + size]
        assert len(part) == size > 0
        assert not any(part), "delivered twice"
        self.got[need][at : at + size] = b"\1" * size

    def check(self, missing: set[int]) -> None:
        assert set(self.times.values()) <= {1}, "a needed byte is read once"
        for (container, _, _), got in zip(self.records(), self.got, strict=True):
            assert all(got) if container not in missing else not any(got)


def check_round(
    needs: Needs,
    extents: Extents,
    plan: RoundPlan,
    missing: set[int],
    limits: tuple[int, int],
) -> None:
    """Replay a plan byte by byte; ``limits`` are ``(max_gap, max_read)``."""
    columns = (extents.container, extents.start, extents.end)
    given = list(zip(*(column.tolist() for column in columns), strict=True))
    world = _Bytes(needs, given, missing)
    before = -1
    for number in range(len(plan.extent_container)):
        container = int(plan.extent_container[number])
        extent = (container, int(plan.extent_start[number]), int(plan.extent_end[number]))
        position = given.index(extent)
        assert position > before, "extents come in the order of the answer, each once"
        before = position
        reads = range(int(plan.read_ptr[number]), int(plan.read_ptr[number + 1]))
        assert reads, "an extent without reads is left out"
        needed = sum(_check_read(plan, read, extent, world, limits) for read in reads)
        assert needed == plan.extent_needed[number]
        offsets = plan.read_offset[reads.start : reads.stop]
        sizes = plan.read_size[reads.start : reads.stop]
        assert (offsets[1:] >= (offsets + sizes)[:-1]).all(), "ascending, without overlap"
    world.check(missing)
    assert plan.read_ptr[-1] == len(plan.read_offset) == len(plan.read_size)
    assert len(plan.need_ptr) == len(plan.read_offset) + 1
    assert plan.need_ptr[-1] == len(plan.need)
    assert (np.diff(plan.fragment_read) >= 0).all()


def _check_read(
    plan: RoundPlan,
    read: int,
    extent: Extent,
    world: _Bytes,
    limits: tuple[int, int],
) -> int:
    container, begin, end = extent
    offset, size = int(plan.read_offset[read]), int(plan.read_size[read])
    max_gap, max_read = limits
    assert begin <= offset
    assert offset + size <= end
    assert 1 <= size <= max_read
    needed, gap = 0, 0
    for byte in range(offset, offset + size):
        if (container, byte) in world.times:
            owner = world.owner(container, byte)
            assert owner == extent, "a byte is read in the first extent that holds it"
            world.times[container, byte] += 1
            needed += 1
            gap = 0
        else:
            assert offset < byte, "a read begins with a needed byte"
            gap += 1
            assert gap <= max_gap
    assert gap == 0, "a read ends with a needed byte"
    _check_delivery(plan, read, container, world)
    return needed


def _check_delivery(plan: RoundPlan, read: int, container: int, world: _Bytes) -> None:
    offset, size = int(plan.read_offset[read]), int(plan.read_size[read])
    complete = plan.need[plan.need_ptr[read] : plan.need_ptr[read + 1]].tolist()
    assert complete == sorted(complete)
    for need in complete:
        where, first, length = world.records()[need]
        assert where == container
        assert offset <= first
        assert first + length <= offset + size
        world.deliver(need, 0, length)
    ptr = plan.fragment_ptr()
    for fragment in range(int(ptr[read]), int(ptr[read + 1])):
        need = int(plan.fragment_need[fragment])
        at, part = int(plan.fragment_at[fragment]), int(plan.fragment_size[fragment])
        source = int(plan.fragment_source[fragment])
        where, first, _ = world.records()[need]
        assert where == container
        assert source + part <= size
        assert offset + source == first + at
        world.deliver(need, at, part)


def greedy_reads(
    records: Sequence[tuple[int, int]], max_gap: int, max_read: int
) -> list[tuple[int, int]]:
    """Merge ``(offset, length)`` that do not overlap, one after the other."""
    reads: list[list[int]] = []
    for offset, length in records:
        joins = (
            bool(reads)
            and offset - reads[-1][1] <= max_gap
            and offset + length - reads[-1][0] <= max_read
        )
        if joins:
            reads[-1][1] = offset + length
            continue
        end = offset + length
        reads.extend([at, min(at + max_read, end)] for at in range(offset, end, max_read))
    return [(start, end - start) for start, end in reads]
