import hashlib
import shutil
from pathlib import Path

import pytest

from benchmarks import dataset

SCALE = 0.004


def summary(root: Path) -> dict[str, tuple[int, int, str]]:
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dataset.Made]:
    root = tmp_path_factory.mktemp("mixed") / "tree"
    return root, dataset.make("mixed", root, SCALE)


def test_the_same_tree_is_made_each_time(tree: tuple[Path, dataset.Made], tmp_path: Path) -> None:
    dataset.make("mixed", tmp_path / "again", SCALE)
    assert summary(tmp_path / "again") == summary(tree[0])


def test_counts_are_those_of_the_tree(tree: tuple[Path, dataset.Made]) -> None:
    root, made = tree
    files = dataset.regular_files(root)
    inodes = {(root / name).stat().st_ino: (root / name).stat().st_size for name in files}
    assert made.files == len(files)
    assert made.logical == sum(inodes.values())


def test_most_distinct_bytes_of_large_files_are_incompressible(
    tree: tuple[Path, dataset.Made],
) -> None:
    share = tree[1].incompressible
    assert share is not None
    assert share >= 0.6


def test_the_mixed_tree_has_what_a_restore_may_stumble_over(
    tree: tuple[Path, dataset.Made],
) -> None:
    root = tree[0]
    sparse = (root / "odd/sparse/0").stat()
    assert sparse.st_blocks * 512 < sparse.st_size
    assert (root / "odd/linked/0-a").stat().st_nlink == 2
    assert (root / "odd/links/0").is_symlink()
    assert (root / "odd/empty/0").stat().st_size == 0


def test_images_are_a_shift_apart(tree: tuple[Path, dataset.Made]) -> None:
    one, two = ((tree[0] / f"machines/0/disk-{state}.img").read_bytes() for state in (0, 1))
    assert len(one) == len(two)
    assert one[:4096] == two[:4096]
    same = sum(one[at : at + 64] in two for at in range(0, len(one) - 64, 4096))
    assert same > 0.8 * len(one) / 4096
    assert sum(left == right for left, right in zip(one, two, strict=True)) < 0.9 * len(one)


@pytest.mark.parametrize("kind", ["all-large", "all-tiny", "many-small", "highly-duplicated"])
def test_other_kinds_hold_what_they_are_named_after(kind: str, tmp_path: Path) -> None:
    made = dataset.make(kind, tmp_path / "tree", SCALE)
    sizes = [path.stat().st_size for path in (tmp_path / "tree").rglob("*") if path.is_file()]
    assert len(sizes) == made.files
    if kind in {"all-large", "highly-duplicated"}:
        assert min(sizes) >= dataset.LARGE
        assert made.incompressible is not None
        assert made.incompressible >= 0.6
    else:
        assert max(sizes) <= 4096
        assert made.incompressible is None
        assert str(made).endswith("no large files")


def test_no_tree_is_begun_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(dataset.NoRoomError, match="free"):
        dataset.make("mixed", tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_one_in_a_hundred_is_the_same_for_the_same_list() -> None:
    names = [f"{number:05d}" for number in range(30_000)]
    chosen = dataset.one_in_a_hundred(names)
    assert len(set(chosen)) == 300
    assert chosen == dataset.one_in_a_hundred(names) == sorted(chosen)
    assert 0.3 < sum(name < "15000" for name in chosen) / 300 < 0.7
