"""Measure staging alone: microseconds for each small file, by durability and file system.

Run as ``python benchmarks/staging_hot.py [FOLDER ...]``; each folder decides which file system is
measured. ``raw`` is the same calls without staging: what the operating system takes.
"""

import os
import shutil
import sys
import time
from binascii import hexlify
from pathlib import Path

import numpy as np

from rehydrate.requests import Durability
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.staging import Staging
from rehydrate.staging.table import NO_OWNER, FileTable

FILES = 30_000
IN_A_DIRECTORY = 10
ROUNDS = 5
TIME = 1_700_000_000_123_456_789


def table_of(sizes: list[int]) -> FileTable:
    """Make a job of small files, ten in a directory."""
    count = len(sizes)
    paths = [b"tree/%03d/%d/%d" % (n // 300, n // IN_A_DIRECTORY, n) for n in range(count)]
    return FileTable(
        paths=paths,
        size=np.array(sizes, np.int64),
        mode=np.full(count, 0o644, np.uint32),
        mtime_ns=np.full(count, TIME, np.int64),
        uid=np.full(count, NO_OWNER, np.uint32),
        gid=np.full(count, NO_OWNER, np.uint32),
        keys=[os.urandom(16) for _ in range(count)],
    )


def staged(folder: Path, durability: Durability, table: FileTable, blocks: list[bytes]) -> float:
    """Return the seconds that staging takes for all files."""
    begin = time.perf_counter()
    with (
        TargetRoot(folder) as root,
        Staging(root, "bench", table, durability=durability) as staging,
    ):
        staging.examine(range(len(table)))
        staging.leftovers()
        for number, block in enumerate(blocks):
            staging.write_whole(number, block)
            if staging.publish_due():
                staging.publish()
        staging.publish()
        staging.finish_directories()
    return time.perf_counter() - begin


def raw(folder: Path, table: FileTable, blocks: list[bytes]) -> float:
    """Return the seconds for the same calls without staging, directories made before."""
    work = folder / "work"
    work.mkdir(parents=True)
    for path in {os.path.dirname(os.fsdecode(path)) for path in table.paths}:  # noqa: PTH120 - bytes
        (folder / path).mkdir(parents=True)
    begin = time.perf_counter()
    source = os.open(work, os.O_RDONLY)
    target = os.open(folder, os.O_RDONLY)
    for number, block in enumerate(blocks):
        name = hexlify(table.keys[number])
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=source)
        os.pwrite(fd, block, 0)
        os.utime(fd, ns=(TIME, TIME))
        os.close(fd)
        os.replace(name, table.paths[number], src_dir_fd=source, dst_dir_fd=target)
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    for base in [Path(argument) for argument in sys.argv[1:]] or [Path("/dev/shm")]:  # noqa: S108 - a memory file system
        folder = base / "rehydrate-staging-hot"
        blocks = [os.urandom(1024 + n % 7168) for n in range(FILES)]
        table = table_of([len(block) for block in blocks])
        seconds: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            shutil.rmtree(folder, ignore_errors=True)
            os.sync()
            seconds.setdefault("raw", []).append(raw(folder, table, blocks))
            for durability in Durability:
                shutil.rmtree(folder, ignore_errors=True)
                os.sync()
                took = staged(folder, durability, table, blocks)
                seconds.setdefault(durability.value, []).append(took)
        shutil.rmtree(folder, ignore_errors=True)
        for name, took in seconds.items():
            each = sorted(1e6 * one / FILES for one in took)
            print(f"{base} {name:6} median {each[ROUNDS // 2]:6.1f} us/file "
                  f"({each[0]:.1f} to {each[-1]:.1f})")  # fmt: skip


if __name__ == "__main__":
    main()
