"""The page of the native format, its examples, and a reader written from it, against the code."""

import ast
import os
import random
import re
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from rehydrate.formats.native import layout
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.store import create_store
from rehydrate.stores.layout import ChunkerSettings
from tests.spec import native_reader as reader
from tests.spec.examples import PAGE, dump, make_examples, names_on, replace_blocks
from tests.spec.small_store import CONFIGURATION, STORE, T0, ContainerWriter, make_store, tombstone

EXAMPLES = make_examples()
HELLO = b"hello, world\n"


def refuse(_frame: bytes) -> bytes:
    raise AssertionError("nothing is compressed here")


def inflate(frame: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(frame)


def bytes_on_page() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for block in re.finditer(
        r"^% example: ([a-z-]+)\n+```text\n(.*?)```$",
        PAGE.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    ):
        data = b""
        for line in block[2].splitlines():
            if line == "*":
                continue
            at, _, rest = line.partition("  ")
            missing = int(at, 16) - len(data)
            data += (data[-16:] * (missing // 16 + 1))[:missing] if missing else b""
            data += bytes.fromhex(rest[:47])
        found[block[1]] = data
    return found


def test_page_shows_what_the_code_makes() -> None:
    page = PAGE.read_text("utf-8")
    dumps = {name: dump(data) for name, data in EXAMPLES.items()}
    assert sorted(names_on(page)) == sorted(dumps)
    assert replace_blocks(page, dumps.__getitem__) == page, "run python -m tests.spec.examples"


def test_dumps_on_the_page_can_be_read_back() -> None:
    assert bytes_on_page() == EXAMPLES


def test_page_names_each_member_of_the_configuration() -> None:
    page = PAGE.read_text("utf-8")
    for name, value in CONFIGURATION.items():
        members = [f"{name}.{member}" for member in value] if isinstance(value, dict) else [name]
        assert all(f"`{member}`" in page for member in members), members


def test_reader_is_short_and_needs_the_standard_library_only() -> None:
    source = Path(reader.__file__).read_text("utf-8")
    assert len(source.splitlines()) <= 150
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
        assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_crc_has_the_check_value_of_its_standard() -> None:
    assert reader.crc64(b"123456789") == 0xAE8B14860A799888 == layout.crc64(b"123456789")


def test_reader_reads_the_container_of_the_page() -> None:
    page = bytes_on_page()
    data = page["header"] + page["record"] + page["record-zstd"] + page["commit"]
    header = reader.read_header(data)
    assert uuid.UUID(bytes=header["store"]) == STORE
    assert (header["kind"], header["container"], header["generation"]) == (1, 1, 1)
    assert header["configuration"] == CONFIGURATION
    assert header["capacity"] == 1 << 30
    first, second, last = reader.walk(data)
    assert first["payload"] == HELLO
    assert (first["local_id"], second["local_id"], last["local_id"]) == (1, 2, 0)
    assert inflate(second["payload"]) == b"A" * 200
    commit = reader.read_commit(last)
    assert (commit["sequence"], commit["records"], commit["previous"]) == (1, 2, 0)
    assert commit["valid_length"] == len(data) == 8192
    assert not commit["sealed"]


def test_reader_reads_the_maps_and_stubs_of_the_page() -> None:
    page = bytes_on_page()
    rows = list(reader.ROW.iter_unpack(page["map"]))
    assert [row[5] for row in rows] == [13, 4096, 8192, 8392]
    assert [(row[0], row[3]) for row in rows] == [(1, 1), (0, 0), (0, 1), (1, 2)]
    inline = reader.read_stub(page["stub-inline"])
    assert (inline["size"], inline["mode"], inline["uid"], inline["gid"]) == (13, 0o640, 1000, 100)
    assert (inline["mtime"], inline["ctime"]) == (T0, T0 + 1)
    assert inline["xattrs"] == {b"user.note": b"hi"}
    assert inline["rows"] == rows[:1]
    parts = reader.read_stub(page["stub-parts"])
    assert (parts["map"], parts["rows"][0][0], parts["rows"][0][5]) == (2, 2, 8392)
    assert reader.read_stub(page["stub-link"])["link"] == b"../hello"
    place = {"salt": bytes(range(0x20, 0x30)), "container": 2, "generation": 1}
    container = bytes(4096) + page["record-map"] + page["map"]
    assert reader.read_record(container, 4096, place)["payload"] == page["map"]


def test_reader_reads_the_catalogue_and_the_tombstone_of_the_page() -> None:
    page = bytes_on_page()
    segment = reader.read_segment(page["segment"])
    assert list(segment) == [b"d", b"d/hello"]
    assert segment[b"d/hello"] == page["stub-inline"]
    manifest = reader.read_manifest(page["manifest"])
    assert (manifest["version"], manifest["source"], manifest["entries"]) == (1, "/home", 2)
    assert manifest["first_paths"] == [b"d"]
    assert manifest["containers"][0][:5] == ["Data", 1, 1, 8192, 1]
    assert reader.read_tombstone(page["tombstone"], 1) == (1, 2, 4096, 1, 85)
    assert reader.read_tombstone(page["tombstone"], 2) == (0, 0, 0, 0, 0)


def write(files: dict[str, bytes], folder: Path) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@pytest.mark.parametrize("decode", [refuse, inflate], ids=["plain", "zstd"])
def test_reader_reads_a_whole_store(decode: Callable[[bytes], bytes], tmp_path: Path) -> None:
    small = make_store(compress=decode is inflate)
    store = write(small.files, tmp_path)
    found = {path: text for path, (_, text) in entries_of(store, decode).items()}
    assert found == small.content


def entries_of(
    store: Path, decode: Callable[[bytes], bytes]
) -> dict[bytes, tuple[reader.Fields, bytes | None]]:
    """Return stub and content (or link text) of each entry of a store with one version."""
    (version,) = store.glob("versions/*.rhm")
    manifest = reader.read_manifest(version.read_bytes())
    found: dict[bytes, tuple[reader.Fields, bytes | None]] = {}
    for row in manifest["rows"]:
        segment = reader.read_segment(reader.fetch(store, "Stream", row, decode))
        for path, data in segment.items():
            stub = reader.read_stub(data)
            texts = {1: reader.content(store, stub, decode), 2: None, 3: stub["link"]}
            found[path] = stub, texts[stub["kind"]]
    assert len(found) == manifest["entries"]
    return found


def make_source(folder: Path) -> None:
    """Make a tree with a file of each kind of map, holes, links and an odd name."""
    noise = random.Random(9).randbytes(20_000)
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "long").write_bytes(noise)
    (folder / "a" / "b" / "zeros").write_bytes(noise[:700] + bytes(9000) + b"end")
    (folder / "a.txt").write_bytes(b"short")
    (folder / "empty").write_bytes(b"")
    (folder / "link").symlink_to("a/long")
    os.link(folder / "a" / "long", folder / "same")
    with (folder / "sparse").open("wb") as stream:
        stream.seek(1 << 16)
        stream.write(noise[:5000])
        stream.truncate(1 << 17)
    Path(os.fsdecode(bytes(folder) + b"/odd \xff name")).write_bytes(b"odd")


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_reader_reads_what_optimize_wrote(compression: str, tmp_path: Path) -> None:
    source, store = tmp_path / "source", tmp_path / "store"
    make_source(source)
    chunker = ChunkerSettings(min_size=512, avg_size=1024, max_size=2048)
    create_store(store, compression=compression, chunker=chunker)
    optimize(source, store)
    found = entries_of(store, refuse if compression == "none" else inflate)
    paths = [path for path in source.rglob("*") if bytes(path) != bytes(source)]
    assert set(found) == {os.fsencode(path.relative_to(source)) for path in paths}
    for path in paths:
        stub, text = found[os.fsencode(path.relative_to(source))]
        status = path.lstat()
        assert (stub["mode"], stub["mtime"]) == (status.st_mode & 0o7777, status.st_mtime_ns)
        assert (stub["uid"], stub["gid"]) == (status.st_uid, status.st_gid)
        if path.is_symlink():
            assert text == os.fsencode(path.readlink())
        else:
            assert text == (None if path.is_dir() else path.read_bytes())
    assert found[b"same"][0]["link_group"] == found[b"a/long"][0]["link_group"] > 0


def test_manifest_is_a_record_too() -> None:
    small = make_store()
    stream = small.files["Stream/00000002.00000001.rhc"]
    (record,) = [record for record in reader.walk(stream) if record["kind"] == 4]
    assert small.files["versions/00000001.rhm"][:-32] == record["payload"]


def test_reader_follows_a_tombstone(tmp_path: Path) -> None:
    old, new = ContainerWriter("Data", 1), ContainerWriter("Data", 1, generation=2)
    ref = old.add_chunk(HELLO)
    files = {
        old.path: tombstone(old.header, [new.add_chunk(HELLO)]),
        new.path: bytes(new.data),
    }
    row = (1, 1, ref.offset, 1, ref.length, 13, ref.digest)
    assert reader.fetch(write(files, tmp_path), "Data", row, refuse) == HELLO
