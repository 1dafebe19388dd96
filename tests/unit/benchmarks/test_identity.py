import os
import shutil
from pathlib import Path

import pytest

from benchmarks.identity import differing_bytes, differing_holes, differing_metadata


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    left, right = tmp_path / "left", tmp_path / "right"
    (left / "folder").mkdir(parents=True)
    (left / "folder/file").write_bytes(b"content")
    (left / "first").write_bytes(b"linked")
    os.link(left / "first", left / "second")
    (left / "link").symlink_to("folder/file")
    shutil.copytree(left, right, symlinks=True)
    (right / "second").unlink()
    os.link(right / "first", right / "second")
    for name in (".", "folder"):
        os.utime(right / name, ns=(0, (left / name).stat().st_mtime_ns))
    return left, right


def test_a_faithful_copy_has_no_differences(trees: tuple[Path, Path]) -> None:
    assert differing_bytes(*trees) == []
    assert differing_metadata(*trees) == []
    assert differing_holes(*trees) == []


def test_other_bytes_are_found(trees: tuple[Path, Path]) -> None:
    (trees[1] / "folder/file").write_bytes(b"Content")
    assert len(differing_bytes(*trees)) == 1


def test_other_metadata_is_found(trees: tuple[Path, Path]) -> None:
    right = trees[1]
    before = (right / "folder").stat().st_mtime_ns
    (right / "folder/file").chmod(0o600)
    os.utime(right / "folder", ns=(0, before + 1))
    (right / "link").unlink()
    (right / "link").symlink_to("elsewhere")
    found = differing_metadata(*trees)
    assert [line.split(" ")[:2] for line in found] == [
        ["folder:", "mtime"], ["folder/file:", "mode"], ["link:", "text"],
    ]  # fmt: skip


def test_missing_names_and_broken_links_are_found(trees: tuple[Path, Path]) -> None:
    (trees[1] / "second").unlink()
    found = differing_metadata(*trees)
    assert found == ["only in one tree: second", "the groups of hard links differ"]


def test_a_hole_that_was_filled_is_found(trees: tuple[Path, Path]) -> None:
    for tree in trees:
        with (tree / "sparse").open("wb") as file:
            file.seek(1 << 20)
            file.write(b"end")
    assert differing_holes(*trees) == []
    (trees[1] / "sparse").write_bytes((trees[0] / "sparse").read_bytes())
    assert differing_holes(*trees) == ["sparse"]
