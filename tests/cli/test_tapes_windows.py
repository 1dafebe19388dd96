"""Folder copies of Windows volumes whose containers lie on tapes, by the command."""

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.cli.stage import called
from tests.ltfs_volume import VolumeWriter
from tests.ltfs_volume.image import write_image
from tests.windows_store.store import WindowsStore
from tests.windows_store.volume import Entry, folder_copy

SYSTEM = "System Volume Information"
NAME = "WIN001L8"


def made(root: Path, *, keep: str = "") -> dict[str, bytes]:
    """Make a folder copy without containers, but those in folders that are kept, and a tape of them."""
    store, noise = WindowsStore(), random.Random(3)
    tree = [
        Entry(f"docs/f{number}", file=store.add_file(noise.randbytes(40_000)))
        for number in range(4)
    ]
    folder_copy(root / "copy", [*tree, Entry("plain.txt", data=b"the sea\n")], store)
    writer = VolumeWriter(barcode=NAME[:6], block_size=4096)
    for path in sorted((root / "copy" / SYSTEM).rglob("*")):
        if path.is_file():
            inner = path.parent.relative_to(root / "copy").as_posix().upper()
            writer.add(f"Backup/E/{inner}/{path.name.swapcase()}", path.read_bytes())
            if path.parent.name != keep:
                path.unlink()
    if not keep:
        shutil.rmtree(root / "copy" / SYSTEM)
    write_image(writer.finish().partitions, root / f"{NAME}.json")
    done = called("inventory", root / f"{NAME}.json", "-o", root / "tapes", "--barcode", NAME)
    assert done.code == 0, done.err
    return {entry.path: entry.content for entry in tree}


@pytest.mark.parametrize("keep", ["Stream", ""])
def test_a_folder_copy_takes_containers_from_tapes(keep: str, tmp_path: Path) -> None:
    want = made(tmp_path, keep=keep)
    line = ("restore", tmp_path / "copy", "--tapes", tmp_path / "tapes")
    done = called(*line, "--drive", tmp_path / "{barcode}.json", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    for path, data in want.items():
        assert (tmp_path / "out" / path).read_bytes() == data
    assert (tmp_path / "out" / "plain.txt").read_bytes() == b"the sea\n"


def test_a_plan_of_a_folder_copy_tells_the_tapes(tmp_path: Path) -> None:
    made(tmp_path, keep="Stream")
    done = called(
        "plan", tmp_path / "copy", "--tapes", tmp_path / "tapes", "--json", "--at-hand", NAME
    )
    assert done.code == 0, done.err
    (medium,) = done.document["estimates"]["media"]
    assert (medium["name"], medium["kind"]) == (NAME, "LTO-8")
    assert all(row["at_hand"] for row in done.document["files"])
    text = called("plan", tmp_path / "copy", "--tapes", tmp_path / "tapes")
    assert "1 volume needed, 1 mount" in text.out


def test_a_folder_copy_on_a_mounted_volume_says_so(tmp_path: Path) -> None:
    want = made(tmp_path)
    shutil.rmtree(tmp_path / "copy")
    store, noise = WindowsStore(), random.Random(3)
    tree = [Entry(f"docs/f{n}", file=store.add_file(noise.randbytes(40_000))) for n in range(4)]
    folder_copy(tmp_path / "copy", tree, store)
    try:
        os.setxattr(tmp_path / "copy", "user.ltfs.volumeUUID", b"x")
    except OSError:
        pytest.skip(f"needs extended attributes of users in {tmp_path}")
    done = called("restore", tmp_path / "copy", "-o", tmp_path / "out")
    assert done.code == 0
    assert "it lies on an LTFS volume" in done.err
    assert {path: (tmp_path / "out" / path).read_bytes() for path in want} == want


def test_a_drive_is_named_once(tmp_path: Path) -> None:
    made(tmp_path, keep="Stream")
    line = ("restore", tmp_path / "copy", "--tapes", tmp_path / "tapes", "-o", tmp_path / "out")
    done = called(*line, "--drive", "a.json", "--drive", "a.json")
    assert done.code == 2
    assert "one drive was named twice" in done.err
    many = str(tmp_path / "{barcode}.json")
    assert called(*line, "--drive", many, "--drive", many).code == 0
