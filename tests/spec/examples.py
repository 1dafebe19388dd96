"""The worked examples of ``docs/reference/native-format.md``; run this to write them anew.

Each example is a fenced block behind a line ``% example: NAME``. ``python -m tests.spec.examples``
from the top of the tree replaces the blocks; a test fails when page and code differ.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from blake3 import blake3

from rehydrate.formats.native import layout
from rehydrate.formats.native.catalogue import (
    Manifest,
    encode_manifest,
    encode_segment,
    seal_manifest,
)
from rehydrate.formats.native.stub import NativeStub, encode_stub
from rehydrate.formats.walk import DATA, DIRECTORY, STREAM, SYMLINK
from tests.spec.small_store import (
    STORE,
    T0,
    ContainerWriter,
    hole_row,
    row_of,
    tombstone,
    zero_row,
)

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference" / "native-format.md"
_BLOCK: Final = re.compile(
    r"^% example: (?P<name>[a-z-]+)\n+```text\n(?P<dump>.*?)```$", re.MULTILINE | re.DOTALL
)


def make_examples() -> dict[str, bytes]:
    """Return the bytes of each example."""
    data, stream = ContainerWriter(DATA, 1), ContainerWriter(STREAM, 2)
    hello = data.add_chunk(b"hello, world\n")
    # One block of run-length kind, written by hand, as encoders may differ.
    frame = bytes.fromhex("28b52ffd20c8430600") + b"A"
    letters = data.add(layout.KIND_CHUNK, b"A" * 200, frame)
    state = data.commit()
    rows = np.concatenate(
        [row_of(hello, 13), zero_row(4096), hole_row(8192), row_of(letters, 8392)]
    )
    part = stream.add(layout.KIND_STREAM_MAP, rows.tobytes())
    directory = NativeStub(
        store=STORE, kind=DIRECTORY, mode=0o755, inode=11, device=1, mtime_ns=T0, ctime_ns=T0 + 1
    )
    inline = NativeStub(
        store=STORE,
        size=13,
        mode=0o640,
        uid=1000,
        gid=100,
        device=1,
        inode=12,
        digest=hello.digest,
        map_kind=layout.MAP_INLINE,
        rows=row_of(hello, 13),
        xattrs=((b"user.note", b"hi"),),
        mtime_ns=T0,
        ctime_ns=T0 + 1,
    )
    in_parts = NativeStub(
        store=STORE,
        size=8392,
        digest=blake3(b"hello, world\n".ljust(8192, b"\0") + b"A" * 200).digest(),
        map_kind=layout.MAP_PARTS,
        rows=row_of(part, 8392),
        mtime_ns=T0,
        ctime_ns=T0 + 1,
    )
    link = NativeStub(
        store=STORE, kind=SYMLINK, mode=0o777, link_text=b"../hello", mtime_ns=T0, ctime_ns=T0 + 1
    )
    segment = encode_segment([b"d", b"d/hello"], [encode_stub(directory), encode_stub(inline)])
    where = stream.add(layout.KIND_SEGMENT, segment)
    manifest = encode_manifest(
        Manifest(
            version=1,
            created_ns=T0,
            parent=None,
            source=b"/home",
            entries=2,
            files=1,
            logical_bytes=13,
            new_bytes=len(data.data),
            partial=False,
            containers=(state, stream.commit()),
            segments=row_of(where, 2),
            first_paths=(b"d",),
        )
    )
    newer = ContainerWriter(DATA, 1, generation=2, salt=bytes(range(0x80, 0x90)))
    moved = newer.add_chunk(b"hello, world\n")
    return {
        "header": bytes(data.data[: layout.HEADER_SIZE]),
        "record": bytes(data.data[hello.offset : letters.offset]),
        "record-zstd": bytes(data.data[letters.offset : data.last_commit_at]),
        "commit": bytes(data.data[data.last_commit_at :]),
        "map": rows.tobytes(),
        "record-map": bytes(stream.data[part.offset : part.offset + layout.RECORD_SIZE]),
        "stub-inline": encode_stub(inline),
        "stub-parts": encode_stub(in_parts),
        "stub-link": encode_stub(link),
        "segment": segment,
        "manifest": seal_manifest(manifest),
        "tombstone": tombstone(data.header, [moved, None]),
    }


def dump(data: bytes) -> str:
    """Return a hexadecimal dump; a line of stars stands for more lines like the one before."""
    lines: list[str] = []
    last = b""
    for at in range(0, len(data), 16):
        piece = data[at : at + 16]
        if piece == last and at + 16 < len(data):
            if lines[-1] != "*\n":
                lines.append("*\n")
            continue
        last = piece
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{at:06x}  {piece.hex(' '):<47}  |{text}|\n")
    return "".join([*lines, f"{len(data):06x}\n"])


def replace_blocks(page: str, make: Callable[[str], str]) -> str:
    """Return the page with each example's block replaced by what ``make`` gives for its name."""
    return _BLOCK.sub(
        lambda found: f"% example: {found['name']}\n\n```text\n{make(found['name'])}```", page
    )


def names_on(page: str) -> list[str]:
    """Return the names of the examples on the page."""
    return [found["name"] for found in _BLOCK.finditer(page)]


if __name__ == "__main__":
    dumps = {name: dump(data) for name, data in make_examples().items()}
    PAGE.write_text(replace_blocks(PAGE.read_text(encoding="utf-8"), dumps.__getitem__), "utf-8")
