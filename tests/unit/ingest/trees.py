"""Source trees for tests, and a plain reader that turns a version back into what it was made of.

The reader uses the encodings of the format and nothing of the engine: it reads each chunk where its
row says and hashes it.
"""

import os
import stat
from pathlib import Path

import attrs
import numpy as np
import zstandard
from blake3 import blake3

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.chunks import HOLE, ROW_DTYPE, Rows
from rehydrate.formats.native.container import container_path
from rehydrate.formats.native.layout import MAP_PARTS, RECORD, RECORD_SIZE
from rehydrate.formats.native.stub import NativeStub, parse_stub
from rehydrate.formats.walk import DATA, DIRECTORY, FILE, STREAM, SYMLINK


@attrs.frozen
class Entry:
    """What a tree and a version must agree on.

    ``links`` are the names of one inode; ``holes`` are the ranges that are not allocated.
    """

    kind: int
    mode: int
    mtime_ns: int
    owner: tuple[int, int]
    content: bytes
    xattrs: tuple[tuple[bytes, bytes], ...]
    links: tuple[bytes, ...]


def of_tree(root: Path) -> dict[bytes, Entry]:
    """Look at a source tree with the standard library."""
    kinds = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    found = {
        path: status
        for path in root.rglob("*")
        for status in [path.lstat()]
        if any(is_kind(status.st_mode) for is_kind in kinds)
    }
    names = {path: os.fsencode(path.relative_to(root)) for path in found}
    inodes: dict[tuple[int, int], list[bytes]] = {}
    for path, status in found.items():
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            inodes.setdefault((status.st_dev, status.st_ino), []).append(names[path])
    return {names[path]: _entry(path, status, inodes) for path, status in found.items()}


def _entry(path: Path, status: os.stat_result, inodes: dict[tuple[int, int], list[bytes]]) -> Entry:
    if stat.S_ISLNK(status.st_mode):
        kind, content = SYMLINK, _link_text(path)
    elif stat.S_ISDIR(status.st_mode):
        kind, content = DIRECTORY, b""
    else:
        kind, content = FILE, path.read_bytes()
    xattrs = tuple(
        (os.fsencode(name), os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(os.listxattr(path, follow_symlinks=False))
        if name.startswith("user.")
    )
    links = tuple(sorted(inodes.get((status.st_dev, status.st_ino), ())))
    return Entry(
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_mtime_ns,
        (status.st_uid, status.st_gid),
        content,
        xattrs,
        links if kind == FILE else (),
    )


def _link_text(path: Path) -> bytes:
    """Read a link as it is; a Path would tidy the text."""
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        return os.readlink(os.fsencode(path.name), dir_fd=fd)
    finally:
        os.close(fd)


def of_version(store: Path, version: int) -> dict[bytes, Entry]:
    """Read a version whole."""
    with NativeCatalogue.open(store) as catalogue:
        stubs = {entry.path: parse_stub(entry.stub) for entry in catalogue.entries(version)}
    groups: dict[int, list[bytes]] = {}
    for path, stub in stubs.items():
        assert stub.link_group == 0 or stub.nlink > 1
        if stub.link_group:
            groups.setdefault(stub.link_group, []).append(path)
    return {
        path: Entry(
            stub.kind,
            stub.mode,
            stub.mtime_ns,
            (stub.uid, stub.gid),
            stub.link_text if stub.kind == SYMLINK else content_of(store, stub),
            stub.xattrs,
            tuple(sorted(groups.get(stub.link_group, ()))) if stub.link_group else (),
        )
        for path, stub in stubs.items()
    }


def rows_of(store: Path, stub: NativeStub) -> Rows:
    """Return all map rows of a stub."""
    if stub.map_kind != MAP_PARTS:
        return stub.rows
    parts = [record_of(store, STREAM, row, int(row["length"]) - RECORD_SIZE) for row in stub.rows]
    return np.frombuffer(b"".join(parts), ROW_DTYPE)


def content_of(store: Path, stub: NativeStub) -> bytes:
    """Read a file chunk by chunk."""
    parts, start = [], 0
    for row in rows_of(store, stub):
        size = int(row["end"]) - start
        assert size > 0
        start = int(row["end"])
        parts.append(record_of(store, DATA, row, size) if row["container"] else bytes(size))
        assert row["container"] or row["local_id"] <= HOLE
    assert start == stub.size
    content = b"".join(parts)
    if stub.kind == FILE:
        assert blake3(content).digest() == stub.digest
    return content


def holes_of(store: Path, stub: NativeStub) -> list[tuple[int, int]]:
    """Return the ranges recorded as holes."""
    found, start = [], 0
    for row in rows_of(store, stub):
        end = int(row["end"])
        if not row["container"] and row["local_id"] == HOLE:
            found.append((start, end))
        start = end
    return found


def record_of(store: Path, kind: str, row: np.void, size: int) -> bytes:
    """Read and verify the record that a row refers to."""
    name = container_path(kind, int(row["container"]), int(row["generation"]))
    with (store / name).open("rb") as stream:
        stream.seek(int(row["offset"]))
        record = stream.read(int(row["length"]))
    compression = RECORD.unpack_from(record)[4]
    data = record[RECORD_SIZE:]
    if compression:
        data = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    assert len(data) == size
    assert blake3(data).digest() == row["digest"].tobytes()
    return data
