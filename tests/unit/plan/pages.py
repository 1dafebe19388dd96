"""Plans to draw: small ones by hand, large ones by chance with a seed."""

import uuid
from collections.abc import Sequence

import attrs
import numpy as np

from rehydrate.chunks import ROW_DTYPE, ChunkTable
from rehydrate.plan.coalesce import accept_order
from rehydrate.plan.estimates import (
    ComparedOrder,
    PlanEstimates,
    PlannedMedium,
    Price,
    TapeDrawing,
    TapePass,
)
from rehydrate.plan.footprint import allocated_sizes, unfinished_peak
from rehydrate.plan.planner import find_needs
from rehydrate.plan.read_plan import PlannedExtent, PlannedRound, ReadPlan, planned_round
from rehydrate.plan.rounds import plan_round
from rehydrate.plan.sketch import PlanSketch, sketch_plan
from rehydrate.values import ContainerExtent, StorePath


def plan_of(
    table: ChunkTable,
    names: Sequence[bytes],
    *,
    answer: Sequence[ContainerExtent] | None = None,
    folder: str = "store/data",
    max_gap: int = 4096,
) -> tuple[ReadPlan, PlanSketch]:
    """Plan and sketch a restore of a table."""
    needs = find_needs(table)
    count = len(needs.containers)
    extents, _ = accept_order(answer, needs, containers=count)
    plan = plan_round(needs, extents, max_gap=max_gap, max_read=8 << 20)
    paths = [StorePath(f"{folder}/{number:08x}.{gen}.ccc") for number, gen in needs.containers]
    sizes = allocated_sizes(table)
    stream = PlannedRound(
        "stream",
        (StorePath("store/stream/00000001.0.ccc"),),
        (
            PlannedExtent(
                container=0, offset=0, length=2**63 - 1, first=4096, end=90_000, reads=3,
                bytes_needed=60_000, bytes_to_read=64_000,
            ),
        ),
    )  # fmt: skip
    whole = int(sizes.sum())
    read_plan = ReadPlan(
        store=uuid.UUID(int=7),
        fingerprint="0123456789abcdef" * 4,
        rounds=(stream, planned_round("data", paths, plan)),
        files=len(names),
        logical_bytes=whole,
        allocated_bytes=whole,
        unfinished_peak=unfinished_peak(needs, table, plan),
    )
    return read_plan, sketch_plan(needs, table, plan, names)


def random_table(
    *, files: int, chunks: int, containers: int, seed: int = 1, shared: float = 0.1
) -> ChunkTable:
    """Return files whose chunks lie mostly together, some of them shared between files."""
    rng = np.random.default_rng(seed)
    length = rng.integers(8_000, 130_000, chunks)
    places = np.cumsum(length + rng.choice([0, 0, 0, 900_000], chunks))
    size = int(places[-1]) // containers + 1
    container = (places - length) // size + 1
    rows = np.zeros(chunks, ROW_DTYPE)
    source = np.arange(chunks)
    again = rng.random(chunks) < shared
    source[again] = rng.integers(0, chunks, int(again.sum()))
    rows["container"] = container[source]
    rows["offset"] = ((places - length) % size)[source]
    rows["length"] = length[source]
    rows["local_id"] = source
    cuts = np.sort(rng.choice(np.arange(1, chunks), files - 1, replace=False))
    row_ptr = np.concatenate(([0], cuts, [chunks])).astype(np.int64)
    ends = np.cumsum(2 * length[source])
    heads = np.repeat(np.append(0, ends[cuts - 1]), np.diff(row_ptr))
    rows["end"] = ends - heads
    return ChunkTable(rows, row_ptr)


def names_for(files: int) -> list[bytes]:
    folders = (b"projects/bridge", b"projects/tunnel", b"photos/2023", b"photos/2024", b"mail")
    return [b"%s/item %05d.dat" % (folders[n * 7 % len(folders)], n) for n in range(files)]


def tape_order(containers: int, pieces: int = 2, size: int = 60 << 20) -> list[ContainerExtent]:
    """Return an order that takes containers in pieces of a size, mixed."""
    order = np.random.default_rng(5).permutation(containers * pieces).tolist()
    return [
        ContainerExtent(
            index=each // pieces,
            offset=size * (each % pieces),
            length=size if each % pieces < pieces - 1 else 2**63 - 1,
        )
        for each in order
    ]


def estimates_for(plan: ReadPlan) -> PlanEstimates:
    """Return made-up estimates with two tapes."""
    rng = np.random.default_rng(3)
    extents = plan.round("data").extents
    length, wraps, passes = 998.8, 280, [[], []]  # type: tuple[float, int, list[list[TapePass]]]
    clock, times = 90.0, []
    for number, extent in enumerate(extents):
        wrap = int(rng.integers(0, 120))
        begin = float(rng.uniform(10, length - 30))
        way = -1 if wrap % 2 else 1
        metres = extent.bytes_to_read / 128.57e9 * 2 * length + 2
        end = min(max(begin + way * metres, 0.0), length)
        locate = float(rng.uniform(3, 40))
        passes[number * 2 // len(extents)].append(
            TapePass(
                wrap=wrap, begin_m=begin, end_m=end, container=extent.container, seconds=locate
            )
        )
        read = extent.bytes_to_read / 400e6
        times.append((clock + locate, clock + locate + read))
        clock += locate + read
    media = tuple(
        PlannedMedium(
            name=name, kind="LTO-9", containers=len({each.container for each in stretch}),
            bytes_to_read=plan.bytes_to_read // 2, ready_seconds=95.0,
            locate_seconds=sum(each.seconds or 0 for each in stretch), read_seconds=21.5,
            note="in library" if name == "LT0007L9" else "in the vault: fetch it",
        )
        for name, stretch in zip(("LT0007L9", "LT0042L9"), passes, strict=True)
    )  # fmt: skip
    return PlanEstimates(
        media=media,
        orders=(
            ComparedOrder(name="as asked", seconds=1810.0, other_seconds=1900.4),
            ComparedOrder(name="logical", seconds=900.0, other_seconds=870.0),
            ComparedOrder(name="best", seconds=455.5, other_seconds=512.0, taken=True),
        ),
        tapes=tuple(
            TapeDrawing(name=medium.name, length_m=length, wraps=wraps, passes=tuple(stretch))
            for medium, stretch in zip(media, passes, strict=True)
        ),
        ready_seconds=190.0,
        locate_seconds=455.5,
        read_seconds=43.0,
        total_seconds=clock,
        price=Price(micros=1_043_500, currency="USD"),
        extent_seconds=tuple(times),
        notes=("Times are those of a full-height LTO-9 drive; wrap ends are assumed.",),
    )


def without_files(plan: ReadPlan) -> ReadPlan:
    """Return the same plan for no files: what is saved is enough for a page."""
    return attrs.evolve(plan)
