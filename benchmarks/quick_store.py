"""A native store made straight from the encoders, and a restore by the engine alone.

It exists to profile the engine without the writing side: one pass, one thread, no catalogue, no
recovery. The stubs go into a plain list beside the store.

    python -m benchmarks.quick_store build SOURCE STORE
    python -m benchmarks.quick_store restore STORE TARGET [--only PATTERN] [--beside SOURCE]
                                     [--rounds N] [--jobs N] [--profile FILE]
"""

import argparse
import cProfile
import fnmatch
import mmap
import os
import resource
import secrets
import shutil
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import zstandard
from blake3 import blake3
from pyfastcdc import FastCDC

from benchmarks.stubs import stubs_of, write_stub_list
from rehydrate import (
    DirectoryStore,
    Durability,
    Links,
    RestoreOptions,
    RestoreRequest,
    TargetRoot,
    restore_files,
)
from rehydrate.chunks import HOLE, ROW_DTYPE, ZERO, Rows
from rehydrate.formats.native.container import (
    Commit,
    ContainerHeader,
    container_path,
    encode_commit,
    encode_header,
)
from rehydrate.formats.native.layout import (
    COMPRESSION_NONE,
    COMPRESSION_ZSTD,
    KIND_CHUNK,
    KIND_STREAM_MAP,
    MAP_INLINE,
    MAP_NONE,
    MAP_PARTS,
    MAX_INLINE_ROWS,
    RECORD_SIZE,
    align,
)
from rehydrate.formats.native.record import encode_record
from rehydrate.formats.native.stub import NativeStub, encode_stub
from rehydrate.formats.walk import DATA, DIRECTORY, FILE, STREAM, SYMLINK
from rehydrate.values import StoreId

CAPACITY = 1 << 30


class Container:
    """One container after the other, of one kind."""

    def __init__(self, folder: Path, store: StoreId, kind: str) -> None:
        """Start with container 1 (data) or 2 (streams); ids go on in steps of two."""
        self._folder, self._store, self._kind = folder, store, kind
        self._id = 1 if kind == DATA else 2
        self._open()

    def _open(self) -> None:
        self._header = ContainerHeader(
            kind=self._kind,
            store=self._store,
            container=self._id,
            generation=1,
            salt=secrets.token_bytes(16),
            created_ns=time.time_ns(),
            capacity=CAPACITY,
            configuration={"made-by": "benchmarks.quick_store"},
        )
        path = self._folder / container_path(self._kind, self._id, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("xb")
        self._file.write(encode_header(self._header))
        self._at = self._file.tell()
        self._local = 0
        self._headers = blake3()

    def append(
        self, kind: int, stored: bytes, size: int, digest: bytes, compression: int
    ) -> tuple[int, int, int, int, int]:
        """Append a record and return the first fields of its row."""
        if self._at >= CAPACITY:
            self.close()
            self._id += 2
            self._open()
        self._local += 1
        header = encode_record(
            self._header.place(self._at),
            kind,
            self._local,
            stored,
            logical_size=size,
            digest=digest,
            compression=compression,
        )
        self._headers.update(header)
        length = len(header) + len(stored)
        self._file.write(header + stored + bytes(align(length) - length))
        found = (self._id, 1, self._at, self._local, length)
        self._at += align(length)
        return found

    def close(self) -> None:
        """Commit and close."""
        commit = Commit(
            store=self._store,
            container=self._id,
            generation=1,
            sequence=1,
            valid_length=0,
            records=self._local,
            previous=0,
            digest=self._headers.digest(),
            sealed=self._at >= CAPACITY,
        )
        self._file.write(encode_commit(self._header.place(self._at), commit))
        self._file.close()


class Builder:
    """Cuts, hashes, compresses and appends; every file is read once."""

    def __init__(self, folder: Path) -> None:
        """Start an empty store."""
        folder.mkdir(parents=True)
        self.store = uuid.uuid4()
        self.data = Container(folder, self.store, DATA)
        self.streams = Container(folder, self.store, STREAM)
        self.logical = self.distinct = self.stored = 0
        self._known: dict[bytes, tuple[int, int, int, int, int]] = {}
        self._compress = zstandard.ZstdCompressor(level=3, write_content_size=True).compress
        self._cut = FastCDC(
            avg_size=64 << 10,
            min_size=32 << 10,
            max_size=128 << 10,
            normalized_chunking=1,
            seed=0,
        )

    def rows_of(self, path: Path, size: int) -> tuple[Rows, bytes]:
        """Store a file; return its rows and its digest."""
        rows: list[tuple[object, ...]] = []
        whole = blake3()
        if not size:
            return np.empty(0, ROW_DTYPE), whole.digest()
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            at = 0
            for begin, end in allocated(file.fileno(), size):
                if begin > at:
                    rows.append((0, 0, 0, HOLE, 0, begin, bytes(32)))
                view = memoryview(data)[begin:end]
                rows += self._chunks(view, begin)
                view.release()
                at = end
            if at < size:
                rows.append((0, 0, 0, HOLE, 0, size, bytes(32)))
            whole.update(data)
        return np.array(rows, ROW_DTYPE), whole.digest()

    def _chunks(self, view: memoryview, at: int) -> Iterator[tuple[object, ...]]:
        for chunk in self._cut.cut_buf(view):
            with view[chunk.offset : chunk.offset + chunk.length] as part:
                piece = bytes(part)
            end = at + chunk.offset + chunk.length
            self.logical += len(piece)
            if not piece[0] and not any(piece):
                yield (0, 0, 0, ZERO, 0, end, bytes(32))
                continue
            digest = blake3(piece).digest()
            found = self._known.get(digest)
            if found is None:
                found = self._known[digest] = self._store(piece, digest)
            yield (*found, end, digest)

    def _store(self, piece: bytes, digest: bytes) -> tuple[int, int, int, int, int]:
        packed = self._compress(piece)
        self.distinct += len(piece)
        codec = COMPRESSION_ZSTD
        if len(packed) >= len(piece):
            packed, codec = piece, COMPRESSION_NONE
        self.stored += len(packed)
        return self.data.append(KIND_CHUNK, packed, len(piece), digest, codec)

    def map_of(self, rows: Rows, size: int) -> tuple[int, Rows]:
        """Return the kind of map and the rows that a stub carries."""
        if not len(rows):
            return MAP_NONE, rows
        if len(rows) <= MAX_INLINE_ROWS:
            return MAP_INLINE, rows
        payload = rows.tobytes()
        digest = blake3(payload).digest()
        found = self.streams.append(
            KIND_STREAM_MAP, payload, len(payload), digest, COMPRESSION_NONE
        )
        if found[4] != RECORD_SIZE + len(payload):
            raise RuntimeError("a stream map was not stored plain")
        return MAP_PARTS, np.array([(*found, size, digest)], ROW_DTYPE)

    def stub_of(self, path: Path) -> bytes:
        """Store what stands at a path and return its stub."""
        found = path.lstat()
        kind, text, size, digest = DIRECTORY, b"", 0, bytes(32)
        rows, map_kind = np.empty(0, ROW_DTYPE), MAP_NONE
        if stat.S_ISLNK(found.st_mode):
            kind, text = SYMLINK, os.fsencode(path.readlink())
        elif stat.S_ISREG(found.st_mode):
            kind, size = FILE, found.st_size
            rows, digest = self.rows_of(path, size)
            map_kind, rows = self.map_of(rows, size)
        return encode_stub(
            NativeStub(
                store=self.store,
                kind=kind,
                size=size,
                mode=stat.S_IMODE(found.st_mode),
                uid=found.st_uid,
                gid=found.st_gid,
                nlink=found.st_nlink,
                mtime_ns=found.st_mtime_ns,
                link_group=found.st_ino if kind == FILE and found.st_nlink > 1 else 0,
                digest=digest,
                map_kind=map_kind,
                rows=rows,
                link_text=text,
            )
        )


def allocated(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Return the ranges of a file that are not holes."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # only a hole is left
            return
        at = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, at


def build(source: Path, folder: Path) -> None:
    """Put a tree into a new store and write the list of stubs."""
    builder = Builder(folder)
    begin = time.perf_counter()
    entries = sorted(source.rglob("*"))
    found = [(os.fsencode(path.relative_to(source)), builder.stub_of(path)) for path in entries]
    write_stub_list(folder, found)
    builder.data.close()
    builder.streams.close()
    print(
        f"{len(entries):,} entries, {builder.logical / 2**20:,.1f} MiB without holes, distinct "
        f"chunks {builder.distinct / 2**20:,.1f} MiB "
        f"({builder.logical / max(builder.distinct, 1):.2f}:1), stored "
        f"{builder.stored / 2**20:,.1f} MiB, in {time.perf_counter() - begin:.1f} s"
    )


def spent() -> float:
    """Return the processor seconds of this process and of its ended children."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def restore(options: argparse.Namespace) -> None:
    """Restore in this process, several times, in turn with ``cp -r`` where that is asked for."""
    entries = [
        (name, stub)
        for name, stub in stubs_of(options.store)
        if fnmatch.fnmatchcase(os.fsdecode(name), options.only)
    ]
    how = RestoreOptions(
        jobs=options.jobs, links=Links.VERBATIM, durability=Durability(options.durability)
    )
    report = None
    profile = cProfile.Profile() if options.profile else None
    for number in range(options.rounds + 1):
        shutil.rmtree(options.target, ignore_errors=True)
        requests = [RestoreRequest(stub, name) for name, stub in entries]
        with DirectoryStore(options.store) as store:
            cpu, begin = spent(), time.perf_counter()
            if profile and number:
                profile.enable()
            with TargetRoot(options.target) as root:
                report = restore_files(requests, store, root, options=how)
            if profile and number:
                profile.disable()
            wall, cpu = time.perf_counter() - begin, spent() - cpu
        report.raise_for_failures()
        line = f"restore {wall:7.3f} s, processor {cpu:7.3f} s"
        if options.beside:
            line += "; " + copied(
                options.beside, options.target, entries, whole=options.only == "*"
            )
        print(line if number else f"{line} (warm-up)", flush=True)
    print(report and report.counters)
    if profile:
        profile.dump_stats(options.profile)


def copied(source: Path, target: Path, entries: list[tuple[bytes, bytes]], *, whole: bool) -> str:
    """Copy the same files with ``cp`` and say what it took."""
    shutil.rmtree(target, ignore_errors=True)
    cpu, begin = spent(), time.perf_counter()
    if whole:
        subprocess.run(["cp", "-r", source, target], check=True)
    else:
        target.mkdir()
        names = [os.fsdecode(name) for name, _ in entries]
        files = "\0".join(name for name in names if not (source / name).is_dir())
        command = ["xargs", "-0", "cp", "--parents", "-t", str(target.resolve())]
        subprocess.run(command, input=files.encode(), cwd=source, check=True)
    return f"cp {time.perf_counter() - begin:7.3f} s, processor {spent() - cpu:7.3f} s"


def main() -> int:
    """Build or restore."""
    parser = argparse.ArgumentParser(prog="benchmarks.quick_store")
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build")
    building.add_argument("source", type=Path)
    building.add_argument("store", type=Path)
    restoring = commands.add_parser("restore")
    restoring.add_argument("store", type=Path)
    restoring.add_argument("target", type=Path)
    restoring.add_argument("--only", default="*", help="pattern that paths must match")
    restoring.add_argument("--beside", type=Path, help="source, to be copied in turn")
    restoring.add_argument("--rounds", type=int, default=3)
    restoring.add_argument("--jobs", type=int, default=0)
    restoring.add_argument("--durability", default="batch", choices=[d.value for d in Durability])
    restoring.add_argument("--profile", help="write a profile to this file")
    options = parser.parse_args()
    if options.command == "build":
        build(options.source, options.store)
    else:
        restore(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
