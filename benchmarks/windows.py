"""Verified restores from a Windows store, beside the bare work on the same chunks.

The bare work is what nobody can leave out: decode, SHA-512 and CRC-64 of every chunk, back to back
in the same number of threads, without reading and without writing.
"""

import functools
import os
import random
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import Limit
from benchmarks.runs import Run, remove
from rehydrate import DirectoryStore, RestoreOptions, RestoreRequest, TargetRoot, restore_files
from rehydrate.formats.windows.codec.codec import decompress, fast_path
from rehydrate.formats.windows.layout import crc64
from rehydrate.formats.windows.record import chunk_digest
from tests.windows_store.encoders import encode
from tests.windows_store.store import Chunk, File, WindowsStore
from tests.windows_store.structures import XPRESS

__all__ = ["windows"]

CHUNK: Final = 64 << 10
FILES: Final = 16
_BODIES: Final = 48
_MARK: Final = 32
_ATTAINED: Final = 0.85

Stored = list[tuple[bytes, int]]
"""Payloads of chunks and their logical sizes."""


def _body(generator: random.Random) -> bytes:
    """Return text-like bytes that XPRESS stores in about half their size."""
    words = [generator.randbytes(generator.randrange(3, 12)) for _ in range(1500)]
    out = bytearray()
    while len(out) < CHUNK - _MARK:
        out += generator.choice(words)
        if generator.random() < 0.12:
            out += generator.randbytes(8)
    return bytes(out[: CHUNK - _MARK])


def _chunks(count: int) -> list[Chunk]:
    """Return distinct chunks; an encoder in Python would take a quarter of an hour for all.

    A group of 32 literals of its own in front of an encoded body is a valid stream again, as the
    matches of the body reach no further back than its own start.
    """
    generator = random.Random(64)
    bodies = [_body(generator) for _ in range(_BODIES)]
    stored = [encode(XPRESS, body) for body in bodies]
    marks = [generator.randbytes(_MARK) for _ in range(count)]
    return [
        Chunk(
            data=mark + bodies[number % _BODIES],
            method=XPRESS,
            stored=struct.pack("<I", 0) + mark + stored[number % _BODIES],
        )
        for number, mark in enumerate(marks)
    ]


def _bare(stored: Stored, threads: int, target: Path | None = None) -> Run:
    """Decode and hash all chunks; with a target also write them, each thread into its file."""

    def work(number: int) -> None:
        at = 0
        fd = -1 if target is None else os.open(f"{target}-{number}", os.O_CREAT | os.O_WRONLY)
        for payload, size in stored[number::threads]:
            crc64(payload)
            data = decompress(XPRESS, payload, size)
            chunk_digest(data)
            if fd >= 0:
                at += os.pwrite(fd, data, at)
        if fd >= 0:
            os.close(fd)
            Path(f"{target}-{number}").unlink()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    cpu, begin = time.process_time(), time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return Run(wall=time.perf_counter() - begin, cpu=time.process_time() - cpu)


def _restore(volume: Path, files: Sequence[File], target: Path, jobs: int) -> Run:
    requests = [
        RestoreRequest(file.stub, f"file {number}", size=file.size, own_data=())
        for number, file in enumerate(files)
    ]
    cpu, begin = time.process_time(), time.perf_counter()
    with DirectoryStore(volume) as store, TargetRoot(target) as root:
        restore_files(requests, store, root, options=RestoreOptions(jobs=jobs)).raise_for_failures()
    return Run(wall=time.perf_counter() - begin, cpu=time.process_time() - cpu)


def windows(bench: Bench) -> None:
    """Restore 1 GiB of compressed chunks with one worker and with two."""
    count = max(round((1 << 30) // CHUNK * bench.scale), FILES)
    volume = bench.memory / "windows-volume"
    remove(volume)
    try:
        _compare(bench, volume, _chunks(count))
    finally:
        remove(volume)


def _compare(bench: Bench, volume: Path, chunks: list[Chunk]) -> None:
    store = WindowsStore(dedupe=False)
    share = len(chunks) // FILES
    files = [
        store.add_chunks(chunks[n * share : (n + 1) * share], stub="3.1") for n in range(FILES)
    ]
    store.write(volume)
    stored: Stored = [(chunk.stored or chunk.data, len(chunk.data)) for chunk in chunks]
    ratio = sum(size for _, size in stored) / sum(len(payload) for payload, _ in stored)
    print(f"{len(chunks)} chunks, {ratio:.2f}:1, {fast_path()}", file=sys.stderr, flush=True)
    for jobs in (1, 2):
        contenders: dict[str, Callable[[], Run]] = {
            "rehydrate": functools.partial(_restore, volume, files, bench.target, jobs),
            "bare": functools.partial(_bare, stored, jobs),
            "bare and written": functools.partial(_bare, stored, jobs, bench.target),
        }
        found = bench.race(f"windows {jobs}", contenders)
        name = f"XPRESS, workers: {jobs}; bare decode + SHA-512 + CRC-64 / verified restore"
        bench.compare(
            "windows",
            name,
            (found["bare"], found["rehydrate"]),
            limit=Limit(_ATTAINED, at_least=True),
        )
        bench.compare(
            "windows",
            f"XPRESS, workers: {jobs}; the same with every byte written / verified restore",
            (found["bare and written"], found["rehydrate"]),
        )
