"""``rehydrate verify`` on Windows volumes: what is damaged, and which files that breaks."""

import re
from pathlib import Path
from uuid import UUID

import pytest

from tests.cli.stage import called
from tests.windows_store.store import WindowsStore
from tests.windows_store.volume import Entry, folder_copy

TREE = Path(__file__).resolve().parents[2]
LOST = UUID("11111111-2222-3333-4444-555555555555")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    store, other = WindowsStore(), WindowsStore(LOST)
    shared = bytes(range(256)) * 300
    tree = [
        Entry("a.bin", file=store.add_file(shared + b"a", chunks=20_000)),
        Entry("b.bin", file=store.add_file(shared + b"b", stub="2.1", chunks=20_000)),
        Entry("c.bin", file=store.add_file(b"something else" * 1000, stub="3.1")),
        Entry("plain.txt", data=b"plain"),
    ]
    folder_copy(tmp_path / "copy", tree, store)
    other.add_file(b"lost" * 1000)
    other.write(tmp_path / "elsewhere")
    return tmp_path / "copy"


def add_orphan(copy: Path) -> None:
    stub = WindowsStore(LOST).add_file(b"lost" * 1000).stub
    (copy / "lost.bin.reparse").write_bytes(stub)


def spoil(copy: Path) -> None:
    """Change a byte in the first chunk, which two files share."""
    container = next(copy.rglob("Data/*.ccc"))
    data = bytearray(container.read_bytes())
    data[data.index(bytes(range(256))) + 7] ^= 1
    container.write_bytes(data)


def test_a_whole_volume(copy: Path) -> None:
    done = called("verify", copy, "--read-data")
    assert (done.code, done.lines) == (0, [])
    assert "3 deduplicated files, 3 of them whole" in done.out
    assert done.out.splitlines()[-1] == "whole: every byte is what was stored"
    assert "--read-data" in called("verify", copy).out.splitlines()[-1]


def test_damage_is_named_with_every_file_that_it_breaks(copy: Path) -> None:
    spoil(copy)
    done = called("verify", copy, "--read-data")
    assert done.code == 1
    assert "damage (1):" in done.out
    assert "{0F5E3C2A-" in done.out
    assert "System Volume Information" not in done.out.partition("broken")[0]
    assert "broken files (2):" in done.out
    assert re.search(r"^  a\.bin: ", done.out, re.MULTILINE)
    found = called("verify", copy, "--read-data", "--json").document
    assert found["ok"] is False
    (damage,) = found["damage"]
    assert damage["files"] == ["a.bin", "b.bin"]
    assert [each["path"] for each in found["files"]] == ["a.bin", "b.bin"]
    assert found["counts"]["whole"] == 1


def test_orphans_are_listed_apart(copy: Path) -> None:
    add_orphan(copy)
    done = called("verify", copy)
    assert done.code == 1
    assert f"  {LOST}: 1 file; say where it is with --store DIR" in done.out
    done = called("verify", copy, "--store", copy.with_name("elsewhere"))
    assert done.code == 0, done.err
    assert "given with --store and is not verified here" in done.out


def test_versions_and_stores_that_are_not_there(copy: Path, tmp_path: Path) -> None:
    assert called("verify", copy, "--version", "2").code == 2
    assert called("verify", copy, "--version", "copy").code == 0
    assert called("verify", tmp_path / "nowhere", "--store", copy).code == 2


def test_every_key_is_on_the_page(copy: Path) -> None:
    spoil(copy)
    add_orphan(copy)
    page = (TREE / "docs" / "reference" / "cli.md").read_text("utf-8")
    (row,) = re.findall(r"^\|[^|]*\| `rehydrate-verify` \| (.*) \|$", page, re.MULTILINE)
    named = set(re.findall(r"`([a-z_]+)`", row))
    found = called("verify", copy, "--read-data", "--json").document
    keys = set(found) - {"format", "version"}
    for key in ("damage", "files", "orphans"):
        keys |= set(found[key][0])
    assert keys <= named
