"""The page of the Windows format against a reader written from it, a writer, and the code."""

import ast
import random
import re
import sys
from pathlib import Path

import pytest

from rehydrate.formats import scan
from rehydrate.formats.walk import Limits
from rehydrate.formats.windows import container, layout, repair, stub
from rehydrate.requests import RestoreOptions
from tests.spec import windows_reader as reader
from tests.windows_store.damage import flip
from tests.windows_store.encoders import XPRESS
from tests.windows_store.store import FORMATS, File, WindowsStore
from tests.windows_store.structures import NONE
from tests.windows_store.vectors import hex_vector, vector

TREE = Path(__file__).resolve().parents[2]
PAGE = (TREE / "docs" / "reference" / "windows-format.md").read_text("utf-8")


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def words(size: int) -> bytes:
    source = random.Random(2)
    return b" ".join(source.choice([b"a", b"stub", b"map", b"of"]) for _ in range(size))[:size]


def store_of(form: str, parts: int = 1) -> tuple[WindowsStore, list[File]]:
    store = WindowsStore()
    files = [
        store.add_file(
            words(9000) + bytes(7000) + noise(3000),
            stub=form,
            chunks=3500,
            compression=[XPRESS, NONE],
            parts=parts,
        ),
        store.add_file(noise(5000, 2), stub=form, chunks=3500),
    ]
    return store, files


CASES = [("1.2", 1), ("2.1", 1), ("2.1", 3), ("3.1", 1), ("3.1", 2)]


@pytest.mark.parametrize(("form", "parts"), CASES)
def test_reader_reads_whole_stores(form: str, parts: int) -> None:
    store, files = store_of(form, parts)
    containers = store.as_mapping()
    for file in files:
        assert len(reader.read_stub(file.stub).parts) == len(file.maps)
        assert reader.read_file(containers, file.stub) == file.data
    assert len(files[0].maps) == parts


def test_reader_knows_every_format_of_the_page() -> None:
    (said,) = re.findall(r"\*\*formats ([\d., and]+)\*\*", PAGE)
    assert sorted(re.findall(r"\d\.\d", said)) == sorted(FORMATS) == sorted({c[0] for c in CASES})


@pytest.mark.parametrize("keep_old", [False, True])
def test_reader_follows_what_compaction_moved(*, keep_old: bool) -> None:
    store, files = store_of("2.1")
    store.compact("Data", 1, 0x10000, keep_old=keep_old)
    store.compact("Stream", 0x10000, 2, keep_old=keep_old)
    containers = store.as_mapping()
    for file in files:
        assert reader.read_file(containers, file.stub) == file.data


def test_reader_refuses_a_flipped_byte_of_a_chunk() -> None:
    store, files = store_of("1.2")
    containers = store.as_mapping()
    place = files[1].chunks[0]
    (path,) = (name for name in containers if "/Data/" in name)
    containers[path] = flip(containers[path], place.offset + 0x58 + 7)
    assert reader.read_file(containers, files[0].stub) == files[0].data
    with pytest.raises(ValueError, match="no good copy"):
        reader.read_file(containers, files[1].stub)


def test_reader_reads_a_real_chunk() -> None:
    data = vector("chunk_2019_xpress_record53.bin")
    ref = reader.Ref(53, 1, 0, 1, 39_901, data[0x28:0x48], 0, 66_483)
    assert len(reader.read_record(data, 0, ref, 1)) == 66_483


def test_reader_reads_a_real_stub_and_its_map() -> None:
    found = reader.read_stub(hex_vector("stub_1_2.hex"))
    assert (found.size, str(found.store)) == (90_593, "6f89ff76-ae45-4802-bd0e-4075177c075f")
    (part,) = found.parts
    payload = reader.read_record(hex_vector("stream_record_1_2.hex"), 0, part, 2)
    assert len(payload) == 8 + 2 * 64


def test_reader_is_short_and_needs_the_standard_library_only() -> None:
    source = Path(reader.__file__).read_text("utf-8")
    assert len(source.splitlines()) <= 200
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
        assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_checksum_has_the_value_of_the_page() -> None:
    value = reader.crc64(b"123456789")
    assert f"`0x{value:016X}`" in PAGE
    assert value == layout.crc64(b"123456789")
    assert reader.crc64(bytes(5)) == reader.crc64(b"") == 2**64 - 1


UNITS = {"": 1, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def test_limits_of_the_page_are_those_of_the_code() -> None:
    table = PAGE.partition("## Limits against hostile bytes")[2]
    rows = re.findall(r"^\| ([^|]+) \| ([\d,]+) ?(\w*)[^|]* \|", table, re.MULTILINE)
    said = {name: int(number.replace(",", "")) * UNITS[unit] for name, number, unit in rows}
    assert said == {
        "size of a file": RestoreOptions().max_file_size,
        "logical size of a chunk": RestoreOptions().max_chunk_size,
        "one stream map": Limits().map_record,
        "all parts of a file's map": Limits().map_size,
        "rows of a 2.1 stub": stub._MOST_ROWS,
        "entries of a redirection table": container._MOST_ENTRIES,
        "a record in a walk": repair._LARGEST_RECORD,
        "a container in a walk": layout.MAX_CONTAINER,
        "other generations walked for a record": repair._MOST_GENERATIONS,
        "Hotspot containers walked for a record": repair._MOST_HOTSPOTS,
        "records that claim a wanted digest and are not it, in a container": scan._MOST_TRIES,
    }
