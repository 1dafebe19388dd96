"""Windows volumes at the command line, as folder copies: found, listed, planned, restored."""

import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from uuid import UUID

import attrs
import pytest

from rehydrate.formats.windows.codec import codec
from tests.cli.stage import PROGRAM, called, program
from tests.windows_store.store import WindowsStore
from tests.windows_store.volume import Entry, folder_copy

TREE = Path(__file__).resolve().parents[2]
VERSION_KEYS = {"number", "created_ns", "parent", "source", "entries", "logical_bytes", "partial"}
LOST = UUID("11111111-2222-3333-4444-555555555555")
MTIME = 133_000_000_000_000_000
TIMES = (MTIME, MTIME, MTIME, MTIME)


@attrs.frozen
class Stage:
    """A folder copy and what must come out of it.

    Attributes:
        root: Where everything is.
        copy: The folder copy.
        elsewhere: Where the store of the orphan is.
        want: Bytes by path.
    """

    root: Path
    copy: Path
    elsewhere: Path
    want: dict[str, bytes]

    def check(self, out: Path, *paths: str) -> None:
        """Compare files that were restored; all of them if none are named."""
        found = {
            path.relative_to(out).as_posix(): path.read_bytes()
            for path in out.rglob("*")
            if path.is_file()
        }
        assert found == {path: self.want[path] for path in paths or self.want}


def words(seed: int, size: int) -> bytes:
    generator = random.Random(seed)
    known = [generator.randbytes(7) for _ in range(60)]
    return b"".join(generator.choice(known) for _ in range(size // 7 + 1))[:size]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    root = tmp_path_factory.mktemp("windows")
    store, other = WindowsStore(), WindowsStore(LOST)
    tree = [
        Entry("Shares/Finance/Q1.xlsx", file=store.add_file(words(1, 90_000), compression=2)),
        Entry(
            "Shares/Finance/Q2.xlsx",
            file=store.add_file(words(2, 80_000), stub="2.1", parts=2, chunks=9000),
        ),
        Entry("Shares/Finance/Übersicht.docx", file=store.add_file(words(3, 70_000), stub="3.1")),
        Entry("Shares/Finance/notes.txt", data=b"the sea\n", times=TIMES),
        Entry("Shares/HR/a.bin", file=store.add_file(words(4, 30_000), stub="2.1")),
        Entry("Shares/HR/odd\\name.bin", data=b"odd"),
        Entry("Shares/lost.bin", file=other.add_file(words(5, 20_000))),
        Entry("empty", directory=True),
    ]
    folder_copy(root / "copy", tree, store)
    other.write(root / "elsewhere")
    want = {entry.path: entry.content for entry in tree if not entry.directory}
    return Stage(root, root / "copy", root / "elsewhere", want)


def test_restore_takes_windows_patterns_and_gives_the_bytes(made: Stage, tmp_path: Path) -> None:
    done = program("restore", made.copy, r"E:\Shares\Finance\*.xlsx", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    made.check(tmp_path / "out", "Shares/Finance/Q1.xlsx", "Shares/Finance/Q2.xlsx")
    assert "4 restored" in done.out, "the directories above come along"


def test_everything_comes_back_when_the_lost_store_is_named(made: Stage, tmp_path: Path) -> None:
    for number, place in enumerate(
        (made.elsewhere, next(made.elsewhere.rglob("*.ddp")), made.elsewhere / ".")
    ):
        out = tmp_path / str(number)
        done = called("restore", made.copy, "--store", place, "-o", out, "--json")
        assert done.code == 0, done.err
        made.check(out)
        assert done.document["counts"] == {"restored": 11}


def test_an_orphan_fails_alone_and_names_its_store(made: Stage, tmp_path: Path) -> None:
    done = called("restore", made.copy, "-o", tmp_path / "out", "--json")
    assert done.code == 1
    made.check(tmp_path / "out", *(set(made.want) - {"Shares/lost.bin"}))
    (failed,) = [each for each in done.document["results"] if each["status"] == "failed"]
    assert failed["path"] == "Shares/lost.bin"
    assert failed["error"]["code"] == "store.other"
    assert failed["error"]["hresult"]
    (line,) = [line for line in done.lines if "lost.bin" in line]
    assert str(LOST) in line
    assert "--store DIR" in line
    assert str(UUID(int=0)) not in line


def test_ordinary_files_get_their_time_and_lost_metadata_is_listed(
    made: Stage, tmp_path: Path
) -> None:
    done = called("restore", made.copy, "Shares/Finance/notes.txt", "-o", tmp_path / "out")
    assert done.code == 0
    restored = tmp_path / "out/Shares/Finance/notes.txt"
    assert restored.stat().st_mtime_ns == (MTIME - 116_444_736_000_000_000) * 100
    (line,) = done.lines
    assert "not kept: access time (3 files)" in line
    found = called("restore", made.copy, "-o", tmp_path / "all", "--json").document
    assert found["metadata_lost"]["access time"] == 10
    names = {each["path"]: each["metadata_lost"] for each in found["results"]}
    assert "access time" in names["Shares/Finance/notes.txt"]


def test_windows_metadata_goes_beside_when_asked(made: Stage, tmp_path: Path) -> None:
    pattern = "Shares/Finance/notes.txt"
    out = tmp_path / "out"
    done = called(
        "restore", made.copy, pattern, "-o", out, "--windows-metadata", "sidecar", "--json"
    )
    assert done.code == 0
    (beside,) = out.rglob("notes.txt.*")
    assert json.loads(beside.read_text())
    assert "access time" not in done.document["metadata_lost"]


def test_ls_lists_paths_that_restore_takes(made: Stage, tmp_path: Path) -> None:
    listed = called("ls", made.copy, r"Shares\Finance").out
    assert listed.splitlines()[0] == "Shares/Finance"
    assert len(listed.splitlines()) == 5
    out = tmp_path / "out"
    done = called("restore", made.copy, "--files-from", "-", "-o", out, data=listed.encode())
    assert done.code == 0
    made.check(out, *(path for path in made.want if "Finance" in path))


def test_a_list_may_have_been_written_on_windows(made: Stage, tmp_path: Path) -> None:
    listed = "E:\\Shares\\HR\\a.bin\r\nShares/HR/odd\\name.bin\r\nE:\\Shares\\gone\r\n"
    out = tmp_path / "out"
    done = called("restore", made.copy, "--files-from", "-", "-o", out, data=listed.encode())
    assert done.code == 1
    assert "gone: nothing in version 1 matches" in done.lines[0]
    made.check(out, "Shares/HR/a.bin", "Shares/HR/odd\\name.bin")


def test_ls_in_all_forms(made: Stage) -> None:
    long = called("ls", made.copy, "-l", "Shares/Finance").out.splitlines()
    assert long[0].startswith("d-")
    (stub,) = [line for line in long if line.endswith("Q1.xlsx")]
    assert stub.startswith("-D")
    assert "90,000" in stub
    (plain,) = [line for line in long if line.endswith("notes.txt")]
    assert plain.startswith("-- ")
    assert "└── Übersicht.docx  68.4 KiB (D)" in called("ls", made.copy, "--tree").out
    found = called("ls", made.copy, "Shares/Finance/*", "--json").document
    first, *_ = found["entries"]
    assert first["deduplicated"] is True
    assert UUID(first["store"]) == WindowsStore().guid
    notes = next(entry for entry in found["entries"] if entry["path"].endswith("notes.txt"))
    assert notes["mtime_ns"] == (MTIME - 116_444_736_000_000_000) * 100
    assert notes["created_ns"] is None
    assert called("ls", made.copy, "nothing").code == 2


def test_plan_has_a_plan_for_each_store(made: Stage) -> None:
    found = called("plan", made.copy, "--store", made.elsewhere, "--json").document
    assert {plan["store"] for plan in found["plans"]} == {str(WindowsStore().guid), str(LOST)}
    assert [plan["entries"] for plan in found["plans"]] == [4, 1]
    assert (found["plain_entries"], found["plain_bytes"]) == (6, 11)
    text = called("plan", made.copy, "--store", made.elsewhere)
    assert text.code == 0
    assert "6 files and directories need no store, 11 B" in text.out
    assert "\nData/00000001.00000001.ccc " in text.out
    assert text.out.count("amplification") == 2


def test_plan_names_a_missing_store_and_shows_the_rest(made: Stage, tmp_path: Path) -> None:
    done = called("plan", made.copy)
    assert done.code == 1
    assert done.out.count("amplification") == 1
    (line,) = done.lines
    assert f"store {LOST}: it is not here, and 1 stub needs it" in line
    same = called("restore", made.copy, "-n", "-o", tmp_path / "out")
    assert (same.code, same.out) == (1, done.out)
    assert not (tmp_path / "out").exists()


def test_plan_of_ordinary_files_and_of_nothing(made: Stage) -> None:
    done = called("plan", made.copy, "Shares/Finance/notes.txt")
    assert done.code == 0
    assert "1 file or directory needs no store, 8 B" in done.out
    assert called("plan", made.copy, "--files-from", "-", data=b"").code == 2


def test_plans_of_volumes_are_not_kept(made: Stage, tmp_path: Path) -> None:
    assert "--save" in called("plan", made.copy, "--save", tmp_path / "p").lines[0]
    store = tmp_path / "store"
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("a")
    called("optimize", tmp_path / "source", store)
    assert called("plan", store, "--save", tmp_path / "p").code == 0
    done = called("restore", made.copy, "--plan", tmp_path / "p", "-o", tmp_path / "out")
    assert done.code == 2
    assert "--plan" in done.lines[0]


def test_cat_gives_stubs_and_ordinary_files(made: Stage) -> None:
    for path in ("Shares/Finance/Q2.xlsx", "Shares/Finance/notes.txt", "Shares/HR/odd\\name.bin"):
        assert program_bytes("cat", made.copy, path) == made.want[path]
    part = program_bytes(
        "cat", made.copy, "Shares/Finance/Q2.xlsx", "--offset", "9K", "--length=1M"
    )
    assert part == made.want["Shares/Finance/Q2.xlsx"][9216:]
    part = program_bytes("cat", made.copy, r"E:\Shares\Finance\notes.txt", "--offset", "4")
    assert part == b"sea\n"


def program_bytes(*line: str | os.PathLike[str]) -> bytes:
    return subprocess.run([*PROGRAM, *line], capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("Shares", "a directory"),
        ("Shares/gone", "is not in version 1"),
        ("shares/Finance/notes.txt", "is not in version 1"),
    ],
)
def test_cat_refuses_what_has_no_bytes(made: Stage, path: str, text: str) -> None:
    done = called("cat", made.copy, path)
    assert done.code == 2
    assert text in done.lines[0]


def test_cat_of_an_orphan_names_its_store(made: Stage) -> None:
    done = called("cat", made.copy, "Shares/lost.bin")
    assert done.code == 3
    assert str(LOST) in done.lines[0]
    given = program_bytes("cat", made.copy, "Shares/lost.bin", "--store", made.elsewhere)
    assert given == made.want["Shares/lost.bin"]


def test_info_says_what_was_found(made: Stage) -> None:
    done = called("info", made.copy, "--containers")
    assert done.code == 0
    for text in (
        "folder copy",
        "5 files (stub format 1.2: 2, 2.1: 2, 3.1: 1)",
        "2 files, 11 B",
        str(WindowsStore().guid),
        "Data         1 container",
        "Data/00000001           0x1",
        "1 file, 19.5 KiB need it: say where it is with --store DIR",
        "excludeFileExtensions",
        "132802106779238400 (2021-11-",
    ):
        assert text in done.out, text
    found = called("info", made.copy, "--json", "--store", made.elsewhere).document
    assert found["stub_formats"] == {"1.2": 2, "2.1": 2, "3.1": 1}
    own, other = found["stores"]
    assert own["logical_bytes"] == 270_000
    assert own["saved_bytes"] == 270_000 - own["container_bytes"]
    assert {each["folder"] for each in own["containers"]} == {"Data", "Stream"}
    assert (other["store"], other["here"], other["saved_bytes"]) == (str(LOST), True, None)
    assert "elsewhere, with --store" in called("info", made.copy, "--store", made.elsewhere).out


def test_versions_of_a_folder_copy_is_the_folder(made: Stage) -> None:
    done = called("versions", made.copy)
    assert done.out.splitlines()[1].split()[0] == "1"
    assert done.out.splitlines()[1].endswith("copy")
    for version in ("1", "copy", "COPY"):
        assert called("ls", made.copy, "--version", version).code == 0
    done = called("ls", made.copy, "--version", "2")
    assert done.code == 2
    assert "`rehydrate versions" in done.lines[0]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["optimize", "SRC", "COPY"], "only read"),
        (["rebuild", "COPY"], "only read"),
        (["export-stubs", "COPY", "-o", "OUT"], "on the volume already"),
    ],
)
def test_what_only_native_stores_can_do_says_why(
    made: Stage, tmp_path: Path, line: list[str], text: str
) -> None:
    (tmp_path / "source").mkdir()
    places = {"COPY": made.copy, "SRC": tmp_path / "source", "OUT": tmp_path / "out"}
    done = called(*(places.get(word, word) for word in line))
    assert done.code == 2
    (message,) = done.lines
    assert "is a Windows volume" in message
    assert text in message
    assert not (made.copy / "rehydrate-store.json").exists()


def test_options_of_volumes_are_refused_for_native_stores(stage: Path) -> None:
    store = stage / "store"
    lines: list[list[str | Path]] = [
        ["ls", store, "--partition", "1"],
        ["info", store, "--containers"],
        ["verify", store, "--version", "1"],
        ["restore", store, "-o", stage / "out", "--windows-metadata", "none"],
        ["cat", store, "copy.raw", "--store", store],
    ]
    for line in lines:
        done = called(*line)
        assert done.code == 2
        assert "only for Windows volumes" in done.lines[0]
    done = called("ls", store, "--version", "newest")
    assert (done.code, "'newest' is no version" in done.lines[0]) == (2, True)


def test_a_native_store_that_lost_its_configuration_is_still_one(stage: Path) -> None:
    (stage / "store" / "rehydrate-store.json").unlink()
    done = called("ls", stage / "store")
    assert done.code == 3
    assert "rebuild" in done.lines[0]
    assert called("rebuild", stage / "store").code == 0
    assert called("ls", stage / "store").code == 0


def test_a_folder_copy_may_have_folders_named_as_ours(made: Stage, tmp_path: Path) -> None:
    shutil.copytree(made.copy, tmp_path / "copy")
    for name in ("Data", "Stream", "versions"):
        (tmp_path / "copy" / name).mkdir()
        (tmp_path / "copy" / name / "00000001.00000001.rhc").touch()
    assert "Stream" in called("ls", tmp_path / "copy").out.splitlines()


def test_stubs_alone_are_a_volume_and_files_alone_are_none(made: Stage, tmp_path: Path) -> None:
    shutil.copytree(made.copy / "Shares", tmp_path / "robocopy" / "Shares")
    done = called("info", tmp_path / "robocopy")
    assert done.code == 0
    assert done.out.count("--store DIR") == 2
    out = tmp_path / "out"
    places = ("--store", made.copy, "--store", made.elsewhere)
    done = called("restore", tmp_path / "robocopy", *places, "-o", out)
    assert done.code == 0, done.err
    made.check(out)
    for stub in (tmp_path / "robocopy").rglob("*.reparse"):
        stub.unlink()
    done = called("ls", tmp_path / "robocopy")
    assert done.code == 3
    assert "no copy of a Windows volume" in done.lines[0]


@pytest.mark.parametrize("content", [b"", b"hello", bytes(1 << 20)])
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.img").write_bytes(content)
    done = called("info", tmp_path / "file.img", "--json")
    assert done.code == 3
    (line,) = done.lines
    assert "file.img" in line
    assert "newer rehydrate" not in line
    assert done.document["format"] == "rehydrate-error"


def test_a_partition_of_a_folder_is_refused(made: Stage) -> None:
    done = called("ls", made.copy, "--partition", "1")
    assert done.code == 2
    assert "no partitions" in done.lines[0]


def test_a_slow_decoder_is_told_once(
    made: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehydrate.cli.volume_source.fast_path", lambda: None)
    monkeypatch.setattr("rehydrate.cli.volume_source._warned", [])
    first = called("restore", made.copy, "Shares/Finance/Q1.xlsx", "-o", tmp_path / "out")
    assert "rehydrate[windows]" in first.lines[0]
    again = called("cat", made.copy, "Shares/Finance/notes.txt")
    assert again.lines == []
    assert codec.fast_path is not None


def test_damaged_containers_fail_their_files_only(made: Stage, tmp_path: Path) -> None:
    shutil.copytree(made.copy, tmp_path / "copy")
    container = next((tmp_path / "copy").rglob("Data/*.ccc"))
    data = bytearray(container.read_bytes())
    data[0x5000 + 0x200] ^= 0x40
    container.write_bytes(data)
    done = called("restore", tmp_path / "copy", "Shares/Finance", "-o", tmp_path / "out", "--json")
    assert done.code == 1
    failed = [each for each in done.document["results"] if each["status"] != "restored"]
    assert [each["path"] for each in failed] == ["Shares/Finance/Q1.xlsx"]
    assert failed[0]["error"]["container"].endswith(".ccc")
    assert failed[0]["error"]["hresult"]


def keys_of(value: object) -> set[str]:
    """Return the keys of a document, but not of plans, errors and tables by name."""
    if isinstance(value, list):
        return {key for each in value for key in keys_of(each)}
    if not isinstance(value, dict):
        return set()
    hidden = {"plan", "error", "selection", "counters", "counts", "metadata_lost", "policy"}
    hidden |= {"stub_formats", "reparse_points"}
    below = (keys_of(each) for key, each in value.items() if key not in hidden)
    return set(value).union(*below) - {"format", "version"}


def test_every_key_of_every_document_is_on_the_page(made: Stage, tmp_path: Path) -> None:
    page = (TREE / "docs" / "reference" / "cli.md").read_text("utf-8")
    lines: list[tuple[str | Path, ...]] = [
        ("versions",),
        ("ls",),
        ("info",),
        ("plan",),
        ("restore", "-o", tmp_path / "out"),
    ]
    for command, *words in lines:
        found = called(command, made.copy, *words, "--json").document
        (row,) = re.findall(rf"^\|[^|]*\| `{found['format']}` \| (.*) \|$", page, re.MULTILINE)
        assert keys_of(found) <= set(re.findall(r"`([a-z_]+)`", row)) | VERSION_KEYS, command
