"""The planner at a million and at ten million references: time, and memory sampled from outside.

Each case runs in a fresh process. The rows, 64 bytes each, are loaded first and count; what the
interpreter and the libraries take before that does not. A second process reads ``RssAnon`` from
``/proc`` while the plan is made; with a spill, rows and columns live in mapped files, and what is
left is the memory of the algorithm itself. Time is the processor's, for ``find_needs`` (the figure
to reach), and for ``accept_order`` and ``plan_round`` after it. Without ``/proc`` there is no
memory figure.

Run it with ``python -m benchmarks.planner [--quick] [--runs N] [--json FILE]``.
"""

import argparse
import itertools
import json
import mmap
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from rehydrate.chunks import ROW_DTYPE, ChunkTable
from rehydrate.plan.coalesce import accept_order
from rehydrate.plan.columns import MEMORY, Scratch
from rehydrate.plan.planner import find_needs
from rehydrate.plan.rounds import plan_round

NANOSECONDS_WANTED = 250
BYTES_WANTED = 120

DUPLICATES = 0.4
RUN = 50  # duplicates come in runs of this many references, as shared files make them
ROWS_A_FILE = 20
STRIDE = 65_536
RECORDS_A_CONTAINER = 16_384  # 1 GiB
MAX_GAP, MAX_READ = 4096, 8 << 20

Scalar = TypeVar("Scalar", bound=np.generic)


class MappedScratch:
    """Columns in unlinked mapped files."""

    def array(self, dtype: type[Scalar], count: int, /) -> npt.NDArray[Scalar]:
        """Return a new array; see :class:`rehydrate.plan.columns.Scratch`."""
        size = max(count * np.dtype(dtype).itemsize, 1)
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            return np.frombuffer(mmap.mmap(file.fileno(), size), dtype, count)


def reference_rows(count: int, order: str) -> npt.NDArray[np.void]:
    """Make rows of which 40 % repeat an earlier record.

    Args:
        count: Number of references.
        order: ``"file"``: records in the order in which they were stored, repeats in runs;
            ``"random"``: no order at all.

    Returns:
        The rows of files with 20 chunks each.
    """
    generator = np.random.default_rng(count)
    distinct = round(count * (1 - DUPLICATES))
    repeats = count - distinct
    runs = generator.integers(0, distinct - RUN, repeats // RUN + 1)
    again = (runs[:, None] + np.arange(RUN)).reshape(-1)[:repeats]
    record = np.concatenate((np.arange(distinct), again))
    if order == "random":
        record[distinct:] = generator.integers(0, distinct, repeats)
        generator.shuffle(record)
    rows = np.zeros(count, ROW_DTYPE)
    rows["container"] = record // RECORDS_A_CONTAINER + 1
    rows["offset"] = 4096 + record % RECORDS_A_CONTAINER * STRIDE
    rows["local_id"] = record % RECORDS_A_CONTAINER
    rows["length"] = STRIDE - 8 - record % 1000
    rows["end"] = (np.arange(count) % ROWS_A_FILE + 1) * 84_000
    words = rows.view("<u8").reshape(-1, 8)
    for word in range(4, 8):
        words[:, word] = record.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(word)
    return rows


def measured(path: Path, *, spill: bool) -> Iterator[dict[str, Any]]:
    """Make a plan, yielding before and after so that a sampler can watch."""
    scratch: Scratch = MappedScratch() if spill else MEMORY
    yield {}
    rows = np.memmap(path, ROW_DTYPE, "r") if spill else np.fromfile(path, ROW_DTYPE)
    row_ptr = np.append(np.arange(0, len(rows), ROWS_A_FILE), len(rows)).astype(np.int64)
    table = ChunkTable(rows=rows, row_ptr=row_ptr)
    started = time.process_time_ns()
    needs = find_needs(table, scratch=scratch)
    found = time.process_time_ns()
    yield {"find_ns": (found - started) / len(rows), "needs": len(needs)}
    resumed = time.process_time_ns()
    extents, _ = accept_order(None, needs, containers=len(needs.containers))
    plan = plan_round(needs, extents, max_gap=MAX_GAP, max_read=MAX_READ, scratch=scratch)
    ended = time.process_time_ns()
    yield {
        "round_ns": (ended - resumed) / len(rows),
        "reads": len(plan.read_size),
        "containers": len(needs.containers),
    }


def child(path: Path, *, spill: bool) -> None:
    """Run one case; each line out says a step is done, each line in asks for the next."""
    for step in measured(path, spill=spill):
        print(json.dumps(step), flush=True)
        sys.stdin.readline()


def anonymous_bytes(pid: int) -> int:
    """Return the anonymous memory of a process; 0 where nobody tells."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    lines = (line.split() for line in status.splitlines())
    return next((int(line[1]) * 1024 for line in lines if line[0] == "RssAnon:"), 0)


def run_case(path: Path, count: int, *, spill: bool) -> dict[str, Any]:
    """Run one case in a fresh process, and sample its memory until each step is done."""
    command = [sys.executable, "-m", "benchmarks.planner", "--child", str(path)]
    command += ["--spill"] if spill else []
    result: dict[str, Any] = {}
    peaks: list[int] = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        out, back = process.stdout, process.stdin
        if out is None or back is None:
            raise RuntimeError("no pipes")
        out.readline()
        base = anonymous_bytes(process.pid)
        # The last step is followed by the end of the process: nothing to watch.
        for name in ("find", "round"):
            sampler = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.planner", "--sample", str(process.pid)],
                stdout=subprocess.PIPE,
                stdin=subprocess.PIPE,
                text=True,
            )
            if sampler.stdout is None:
                raise RuntimeError("no pipes")
            sampler.stdout.readline()
            back.write("\n")
            back.flush()
            result |= json.loads(out.readline())
            peaks.append(int(sampler.communicate("\n")[0]))
            result[f"{name}_bytes"] = (peaks[-1] - base) / count if peaks[-1] else None
        back.write("\n")
        back.flush()
    return result


def sample(pid: int) -> None:
    """Print the peak of a process's anonymous memory when a line comes in."""
    peak = 0
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.0005)[0]:
        peak = max(peak, anonymous_bytes(pid))
    print(max(peak, anonymous_bytes(pid)))


def run(*, counts: list[int], runs: int) -> list[dict[str, Any]]:
    """Run all cases.

    Args:
        counts: Numbers of references.
        runs: Runs of each case; the medians are reported, and the spread of ``find_needs``.

    Returns:
        One record for each case.
    """
    records = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        for count, order in itertools.product(counts, ("random", "file")):
            reference_rows(count, order).tofile(path)
            for spill in (False, True):
                results = [run_case(path, count, spill=spill) for _ in range(runs)]
                times = sorted(result["find_ns"] for result in results)
                record = {"references": count, "order": order, "spill": spill}
                for key, value in results[0].items():
                    values = [result[key] for result in results]
                    record[key] = value if value is None else statistics.median(values)
                records.append({**record, "find_ns_spread": [times[0], times[-1]]})
    return records


def table_of(records: list[dict[str, Any]]) -> str:
    """Return the records as a table for people."""
    lines = [
        f"40 % duplicates; to reach: find <= {NANOSECONDS_WANTED} ns, <= {BYTES_WANTED} B/reference",
        "B/ref: peak of anonymous memory, the 64 bytes of the row included unless spilled",
        "references order  columns   find ns (spread)       B/ref   round ns   B/ref      reads",
    ]
    for record in records:
        low, high = record["find_ns_spread"]
        sizes = [record["find_bytes"], record["round_bytes"]]
        find, total = ("-" if size is None else f"{size:.1f}" for size in sizes)
        met = record["find_ns"] <= NANOSECONDS_WANTED and (sizes[0] or 0) <= BYTES_WANTED
        lines.append(
            f"{record['references']:>10,} {record['order']:<6} "
            f"{'spilled' if record['spill'] else 'memory':<8} "
            f"{record['find_ns']:>8.0f} ({low:.0f}-{high:.0f}){'':<6} {find:>8} "
            f"{record['round_ns']:>10.0f} {total:>7} {record['reads']:>10,.0f}"
            f"{'' if met else '  MISSED'}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        arguments: Command line; see the module.

    Returns:
        The exit code: 0, whatever the figures are.
    """
    parser = argparse.ArgumentParser(prog="benchmarks.planner")
    parser.add_argument("--quick", action="store_true", help="a million references only")
    parser.add_argument("--runs", type=int, default=3, help="runs of each case")
    parser.add_argument("--json", type=Path, help="also write the records to this file")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--spill", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child is not None:
        child(options.child, spill=options.spill)
    elif options.sample is not None:
        sample(options.sample)
    else:
        counts = [1_000_000] if options.quick else [1_000_000, 10_000_000]
        records = run(counts=counts, runs=options.runs)
        print(table_of(records))
        if options.json is not None:
            options.json.write_text(json.dumps(records, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
