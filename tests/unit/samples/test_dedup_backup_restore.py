"""The sample does what its page says: every action, and what it leaves alone when a file fails."""

import filecmp
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rehydrate.stores.backup_stream import part_header
from rehydrate.stores.backup_streams_folder import BackupStreamFolder
from rehydrate.stores.folder_copy import FolderCopy
from rehydrate.stores.volume import VolumeEntry
from rehydrate.values import DEDUP_TAG
from samples import dedup_backup_restore
from samples.dedup_backup_restore import main
from tests.windows_store.store import WindowsStore
from tests.windows_store.volume import Entry, folder_copy

SAMPLE = Path(dedup_backup_restore.__file__)


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    """What the files of a small volume hold; the volume and its backup stand beside it."""
    store = WindowsStore(data_limit=350_000)  # a container for each file
    files = {
        "Docs/plain.txt": Entry("Docs/plain.txt", data=b"plain"),
        "Docs/one.bin": Entry("Docs/one.bin", file=store.add_file(os.urandom(300_000))),
        "Docs/two.bin": Entry("Docs/two.bin", file=store.add_file(os.urandom(300_000), stub="2.1")),
        "three.bin": Entry(
            "three.bin",
            file=store.add_file(os.urandom(300_000), stub="3.1").recalled({66_000: b"newer"}),
        ),
        "empty": Entry("empty"),
    }
    folder_copy(tmp_path / "volume", [*files.values(), Entry("folder", directory=True)], store)
    assert main(["-backup", str(tmp_path / "volume"), str(tmp_path / "backup")]) == 0
    return {path: entry.content for path, entry in files.items()}


def run(action: str, tmp_path: Path, out: str, *paths: str) -> int:
    return main([action, str(tmp_path / "backup"), str(tmp_path / out), *paths])


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def stubs(folder: Path) -> list[bytes]:
    volume = FolderCopy(folder)
    found = [entry.path for entry in volume.entries() if entry.reparse_tag == DEDUP_TAG]
    volume.close()
    return found


def damage(tmp_path: Path) -> None:
    """Spoil a byte in the last data container of the backup, which three.bin needs."""
    container = max((tmp_path / "backup").rglob("Data/*.ccc"))
    raw = bytearray(container.read_bytes())
    raw[0x5000 + 1000] ^= 1
    container.write_bytes(raw)


def test_a_backup_holds_streams_only(expected: dict[str, bytes], tmp_path: Path) -> None:
    volume = BackupStreamFolder(tmp_path / "backup")
    found = {entry.path.decode(): entry for entry in volume.entries()}
    assert {path for path in found if not found[path].directory} == set(expected)
    assert {path for path, entry in found.items() if entry.reparse_tag} == {
        "Docs/one.bin", "Docs/two.bin", "three.bin",
    }  # fmt: skip
    assert volume.own_ranges(found["Docs/one.bin"]) == ()
    assert len(volume.chunk_stores()) == 1
    assert len(volume.settings()) == 2
    assert volume.problems == ()
    volume.close()


def test_restore_brings_everything_back(
    expected: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-restore", tmp_path, "out") == 0
    assert names(tmp_path / "out") == sorted([*expected, "Docs", "folder"])
    for path, content in expected.items():
        assert (tmp_path / "out" / path).read_bytes() == content
    printed = capsys.readouterr().out
    assert "RestoreFiles: 0x00000000" in printed
    assert printed.count("order: ") == 2


def test_the_order_has_two_passes(
    expected: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run("-restore", tmp_path, "out") == 0
    previews = [line for line in capsys.readouterr().out.splitlines() if "preview" in line]
    data = [line.split()[1] for line in previews if "0001000" not in line]
    assert data == sorted(set(data)) * 2
    assert len(set(data)) > 1


def test_restorestub_brings_stubs_and_restoredata_fills_them(
    expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("-restorestub", tmp_path, "out") == 0
    assert stubs(out) == [b"Docs/one.bin", b"Docs/two.bin", b"three.bin"]
    assert (out / "three.bin").read_bytes() != expected["three.bin"]
    assert run("-restoredata", tmp_path, "out", "three.bin") == 0
    assert (out / "three.bin").read_bytes() == expected["three.bin"]
    assert stubs(out) == [b"Docs/one.bin", b"Docs/two.bin"]
    assert run("-restoredata", tmp_path, "out") == 0
    assert stubs(out) == []
    assert names(out) == ["Docs", "Docs/one.bin", "Docs/two.bin", "three.bin"]
    assert (out / "Docs" / "one.bin").read_bytes() == expected["Docs/one.bin"]


def test_restorefile_replaces_a_file_when_it_is_complete(
    expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "Docs").mkdir(parents=True)
    (out / "Docs" / "two.bin").write_bytes(b"old")
    assert run("-restorefile", tmp_path, "out", "Docs/two.bin", "Docs/plain.txt") == 0
    assert names(out) == ["Docs", "Docs/plain.txt", "Docs/two.bin"]
    assert (out / "Docs" / "two.bin").read_bytes() == expected["Docs/two.bin"]
    assert run("-restorefile", tmp_path, "out", "empty") == 0
    assert (out / "empty").read_bytes() == b""


def test_restorevolume_brings_the_same_volume_back(
    expected: dict[str, bytes], tmp_path: Path
) -> None:
    assert run("-restorevolume", tmp_path, "out") == 0
    volume, out = tmp_path / "volume", tmp_path / "out"
    left_behind = {"State", "Logs"}  # what a restore does not need is not backed up
    files = [
        str(path.relative_to(volume))
        for path in volume.rglob("*")
        if path.is_file() and not left_behind & set(path.parts)
    ]
    assert filecmp.cmpfiles(volume, out, files, shallow=False) == (files, [], [])
    assert stubs(out) == [b"Docs/one.bin", b"Docs/two.bin", b"three.bin"]
    if (volume / "Docs" / "one.bin").stat().st_blocks == 0:
        assert (out / "Docs" / "one.bin").stat().st_blocks == 0


class TestAFileThatFails:
    @pytest.fixture(autouse=True)
    def damaged(self, expected: dict[str, bytes], tmp_path: Path) -> None:
        damage(tmp_path)

    def test_has_a_result_code_and_the_others_come_back(
        self, expected: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("-restore", tmp_path, "out") == 1
        printed = capsys.readouterr().out
        assert "three.bin: FAILED, 0x80565355" in printed
        assert "RestoreFiles: 0x80565356" in printed
        for path in ("Docs/one.bin", "Docs/two.bin", "Docs/plain.txt"):
            assert (tmp_path / "out" / path).read_bytes() == expected[path]
        assert not (tmp_path / "out" / "three.bin").exists()

    def test_leaves_what_stood_at_its_target(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.mkdir()
        (out / "three.bin").write_bytes(b"old")
        assert run("-restore", tmp_path, "out", "three.bin") == 1
        assert (out / "three.bin").read_bytes() == b"old"
        assert run("-restorefile", tmp_path, "out", "three.bin") == 1
        assert (out / "three.bin").read_bytes() == b"old"
        assert stubs(out) == [b".three.bin.restoring"]

    def test_stays_a_stub_that_a_whole_backup_fills(
        self, expected: dict[str, bytes], tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        assert run("-restorestub", tmp_path, "out") == 0
        before = (out / "three.bin").read_bytes()
        assert run("-restoredata", tmp_path, "out") == 1
        assert stubs(out) == [b"three.bin"]
        assert (out / "three.bin").read_bytes() == before
        damage(tmp_path)  # the same bit again: it is whole
        assert run("-restoredata", tmp_path, "out") == 0
        assert (out / "three.bin").read_bytes() == expected["three.bin"]


def test_own_data_that_is_not_known_stays_so_in_the_backup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = WindowsStore()
    made = store.add_file(os.urandom(100_000))
    folder_copy(tmp_path / "volume", [Entry("a", file=made)], store, filled=True)
    assert main(["-backup", str(tmp_path / "volume"), str(tmp_path / "backup")]) == 0
    assert "a: it is not known what" in capsys.readouterr().out
    assert run("-restore", tmp_path, "out") == 0
    assert (tmp_path / "out" / "a").read_bytes() == made.data


def test_other_reparse_points_and_problems_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "l\xe9").write_bytes(b"")
    (tmp_path / "volume" / "link").symlink_to("l\xe9")
    link = Entry("cloud", reparse=b"\x1a\x00\x00\x90\x04\x00\x00\x00data")
    folder_copy(tmp_path / "volume", [link])
    assert main(["-backup", str(tmp_path / "volume"), str(tmp_path / "backup")]) == 0
    assert "remark: link is a link: left out" in capsys.readouterr().out
    assert run("-restore", tmp_path, "out") == 0
    assert "cloud: another reparse point, left out" in capsys.readouterr().out
    assert names(tmp_path / "out") == ["l\xe9"]
    (tmp_path / "backup" / "bad").write_bytes(part_header(1, 5))
    assert run("-restore", tmp_path, "out") == 1
    assert "problem: bad: " in capsys.readouterr().out


def test_a_file_that_cannot_be_backed_up_is_told(
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = FolderCopy.read

    def shrinking(volume: FolderCopy, entry: VolumeEntry, offset: int, size: int) -> bytes:
        beyond = 1 << 40 if entry.path == b"Docs/plain.txt" else 0
        return real(volume, entry, offset + beyond, size)

    monkeypatch.setattr(FolderCopy, "read", shrinking)
    assert main(["-backup", str(tmp_path / "volume"), str(tmp_path / "again")]) == 1
    assert "Docs/plain.txt: not backed up" in capsys.readouterr().out
    assert not (tmp_path / "again" / "Docs" / "plain.txt").exists()
    assert (tmp_path / "again" / "empty").exists()


def test_a_missing_container_is_told_by_its_code(
    expected: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for container in (tmp_path / "backup").rglob("Data/*.ccc"):
        container.unlink()
    assert run("-restore", tmp_path, "out") == 1
    assert "0x80565304" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["-help"], ["-restore", "x"], ["-what", "a", "b"]])
def test_what_is_no_action_shows_the_page(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "-restorevolume" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-restore", tmp_path, "out") == 1
    assert capsys.readouterr().out.startswith("0x80565304 there is no directory")


def test_without_arguments_everything_is_done_once(tmp_path: Path) -> None:
    clean = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SAMPLE)],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for action in ("-backup", "-restorestub", "-restoredata", "-restorefile", "-restorevolume"):
        assert f"\n{action} " in done.stdout
    assert not list(tmp_path.iterdir())


def test_away_from_the_source_tree_it_says_what_is_missing(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / SAMPLE.name
    copy.parent.mkdir()
    copy.write_bytes(SAMPLE.read_bytes())
    clean = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, str(copy)], env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "needs the source tree" in done.stdout
