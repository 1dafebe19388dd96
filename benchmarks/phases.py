"""Bare loops over real data: what reading and writing take without any of our bookkeeping.

The reading side does for a list of files what any engine must do: read the needed records in the
order of the store, decode them, verify them, write them to every place; the clock is looked at
between the phases of each block. What the engine takes beyond that, with one worker over the same
files, is the interpreter: plan, bookkeeping, staging, publishing.

The writing side reads a tree, cuts it, hashes every chunk and compresses the new ones.

    python -m benchmarks.phases restore STORE TARGET < NAMES
    python -m benchmarks.phases optimize TREE
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import zstandard
from blake3 import blake3
from pyfastcdc import FastCDC

from benchmarks.engine import selected
from benchmarks.maps import Maps, read_maps
from benchmarks.stubs import Entries, stubs_of
from rehydrate.chunks import Rows
from rehydrate.formats.native.layout import COMPRESSION_NONE, RECORD_SIZE
from rehydrate.stores.directory import DirectoryStore
from rehydrate.values import StorePath

__all__ = ["PHASES", "restore_phases", "writing_sum"]

PHASES: Final = ("read", "decode", "verify", "write")
_COMPRESSION_AT: Final = 8  # magic 4, header size 2, kind 1, flags 1
_GAP: Final = 4096
_WHOLE: Final = 256 << 20
Decompress = Callable[[memoryview], bytes]


class Targets:
    """Files being written: opened at their first block, closed after their last."""

    def __init__(self, folder: Path, names: Sequence[bytes], sizes: Sequence[int]) -> None:
        """Prepare.

        Args:
            folder: Directory to make; all files lie flat in it.
            names: Anything with one entry for each file.
            sizes: Bytes that will be written to each file.
        """
        folder.mkdir(parents=True)
        self._folder = folder
        self._left = list(sizes)
        self._open: dict[int, int] = {}
        self.count = len(names)

    def write(self, file: int, data: memoryview | bytes, offset: int) -> None:
        """Write one piece."""
        fd = self._open.get(file)
        if fd is None:
            name = self._folder / f"{file:06d}"
            fd = self._open[file] = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.pwrite(fd, data, offset)
        self._left[file] -= len(data)
        if not self._left[file]:
            os.close(self._open.pop(file))


def restore_phases(store: Path, entries: Entries, target: Path) -> dict[str, float]:
    """Restore the bytes of files with the bare primitives, and time each.

    The time is the processor's: store and target are in memory, nothing waits.

    Args:
        store: Directory of the store.
        entries: Path and stub of the files.
        target: Directory to make.

    Returns:
        Processor seconds of each phase.
    """
    spent = dict.fromkeys(PHASES, 0.0)
    with DirectoryStore(store) as source:
        maps = read_maps((stub for _, stub in entries), source)
        records, uses = maps.distinct(), _uses(maps)
        stored = maps.rows["container"] != 0
        sizes = (maps.rows["end"].astype(np.int64) - maps.starts()) * stored
        totals = np.bincount(maps.file, sizes, len(entries)).astype(np.int64).tolist()
        targets = Targets(target, [name for name, _ in entries], totals)
        decompress = zstandard.ZstdDecompressor().decompress
        buffer = memoryview(bytearray(source.max_read))
        clock = time.process_time
        for path, offset, size, members in _blocks(records, source.max_read):
            begin = clock()
            view = buffer[:size]
            source.read_backup_file_into(path, offset, view)
            read = clock()
            plain = [_plain(view, records, member, offset, decompress) for member in members]
            decoded = clock()
            for member, data in zip(members, plain, strict=True):
                if blake3(data).digest() != records["digest"][member].tobytes():
                    raise RuntimeError("a chunk of the benchmark's store is damaged")
            verified = clock()
            for member, data in zip(members, plain, strict=True):
                for file, at in uses[member]:
                    targets.write(file, data, at)
            written = clock()
            steps = (read - begin, decoded - read, verified - decoded, written - verified)
            for name, step in zip(PHASES, steps, strict=True):
                spent[name] += step
    return spent


def _uses(maps: Maps) -> list[list[tuple[int, int]]]:
    """Return file and offset of every use of each distinct record."""
    stored = maps.rows["container"] != 0
    places = maps.rows[stored][["container", "generation", "offset"]]
    _, record = np.unique(places, return_inverse=True)
    found: list[list[tuple[int, int]]] = [[] for _ in range(int(record.max(initial=-1)) + 1)]
    files, starts = maps.file[stored].tolist(), maps.starts()[stored].tolist()
    for number, file, start in zip(record.tolist(), files, starts, strict=True):
        found[number].append((file, start))
    return found


def _blocks(records: Rows, most: int) -> Iterator[tuple[StorePath, int, int, range]]:
    """Merge neighbouring records into reads."""
    containers, generations = records["container"].tolist(), records["generation"].tolist()
    offsets = records["offset"].tolist()
    ends = (records["offset"] + records["length"]).tolist()
    first = 0
    for number in range(1, len(records) + 1):
        if (
            number == len(records)
            or containers[number] != containers[first]
            or offsets[number] - ends[number - 1] > _GAP
            or ends[number] - offsets[first] > most
        ):
            path = StorePath(f"Data/{containers[first]:08x}.{generations[first]:08x}.rhc")
            size = ends[number - 1] - offsets[first]
            yield path, offsets[first], size, range(first, number)
            first = number


def _plain(
    view: memoryview, records: Rows, member: int, offset: int, decompress: Decompress
) -> memoryview | bytes:
    begin = int(records["offset"][member]) - offset
    record = view[begin : begin + int(records["length"][member])]
    if record[_COMPRESSION_AT] == COMPRESSION_NONE:
        return record[RECORD_SIZE:]
    return decompress(record[RECORD_SIZE:])


def writing_sum(tree: Path) -> dict[str, float]:
    """Read, cut, hash and compress a tree in one thread, and time each.

    Args:
        tree: Directory.

    Returns:
        Seconds of each step; chunks seen before are not compressed again.
    """
    spent = dict.fromkeys(("read", "cut", "hash", "compress"), 0.0)
    cut = FastCDC(
        avg_size=64 << 10, min_size=32 << 10, max_size=128 << 10, normalized_chunking=1, seed=0
    ).cut_buf
    compress = zstandard.ZstdCompressor(level=3, write_content_size=True).compress
    known: set[bytes] = set()
    clock = time.perf_counter
    for path in sorted(tree.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        begin = clock()
        with path.open("rb", buffering=0) as file:
            data = memoryview(file.read(_WHOLE))
        read = clock()
        pieces = [data[chunk.offset : chunk.offset + chunk.length] for chunk in cut(data)]
        done = clock()
        digests = [blake3(piece).digest() for piece in pieces]
        hashed = clock()
        for piece, digest in zip(pieces, digests, strict=True):
            if digest not in known:
                known.add(digest)
                compress(piece)
        compressed = clock()
        steps = (read - begin, done - read, hashed - done, compressed - hashed)
        for name, step in zip(spent, steps, strict=True):
            spent[name] += step
    return spent


def main() -> int:
    """Run one loop and print its seconds as JSON."""
    if sys.argv[1] == "optimize":
        print(json.dumps(writing_sum(Path(sys.argv[2]))))
    else:
        store, target = Path(sys.argv[2]), Path(sys.argv[3])
        entries = selected(stubs_of(store), sys.stdin.read().splitlines() or None)
        print(json.dumps(restore_phases(store, entries, target)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
