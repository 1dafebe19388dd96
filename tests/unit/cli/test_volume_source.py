"""Volumes at the command line that no folder copy can show: in memory, with odd names and faults."""

from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeAlias

import pytest

from rehydrate.catalogue.windows import VolumeCatalogue
from rehydrate.cli import restoring
from rehydrate.cli.chosen import Wanted
from rehydrate.cli.volume_source import VolumeSource
from rehydrate.errors import Cancelled, RequestError, StoreReadError
from rehydrate.requests import CancelToken
from rehydrate.stores.volume import VolumeFacts
from tests.cli.stage import Done, called
from tests.windows_store.fake_volume import FakeVolume, fake_catalogue
from tests.windows_store.store import WindowsStore
from tests.windows_store.volume import Entry

Run: TypeAlias = Callable[..., Done]
CLOUD = b"\x1a\x30\x00\x90\x04\x00\x00\x00abcd"
FUTURE = 133_000_000_000_000_000


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command on volumes in memory."""
    place = tmp_path / "volume.img"
    place.write_bytes(b"not looked at")

    def run(catalogue: VolumeCatalogue, command: str, *words: str | Path) -> Done:
        def opened(*_: object, **__: object) -> VolumeCatalogue:
            return catalogue

        monkeypatch.setattr("rehydrate.cli.volume_source.open_volumes", opened)
        monkeypatch.setattr("rehydrate.cli.volume_facts._image", lambda _: ("", ()))
        return called(command, place, *words)

    return run


def plain(*names: str) -> FakeVolume:
    return FakeVolume([Entry(name, data=name.encode("utf-8", "surrogatepass")) for name in names])


def test_names_that_differ_by_case_are_both_kept(on: Run, tmp_path: Path) -> None:
    done = on(fake_catalogue(plain("a/Name", "a/NAME", "B")), "restore", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert (tmp_path / "out/a/Name").read_text() == "a/Name"
    assert (tmp_path / "out/a/NAME").read_text() == "a/NAME"
    assert not list((tmp_path / "out").glob(".rehydrate*"))


def test_and_are_an_error_where_the_target_does_not_tell_them_apart(
    on: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "tells_case_apart", lambda _: False)
    done = on(fake_catalogue(plain("a/Name", "a/NAME", "B")), "restore", "-o", tmp_path / "out")
    assert done.code == 2
    assert "same target" in done.lines[0]
    done = on(fake_catalogue(plain("a/Name", "B")), "restore", "-o", tmp_path / "out")
    assert done.code == 0


def test_a_target_is_asked_whether_it_tells_case_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert restoring.tells_case_apart(tmp_path)
    assert restoring.tells_case_apart(tmp_path / "missing")
    monkeypatch.setattr("os.path.lexists", lambda _: True)
    assert not restoring.tells_case_apart(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_named_and_is_a_failure(on: Run, tmp_path: Path) -> None:
    volume = FakeVolume([Entry("a", data=b"a")], problems=["b: its index is damaged"])
    for line in (["ls"], ["ls", "--json"], ["plan"], ["restore", "-o", tmp_path / "out"]):
        done = on(fake_catalogue(volume), *line)
        assert done.code == 1, line
        assert "rehydrate: b: its index is damaged" in done.lines
    assert on(fake_catalogue(volume), "info").code == 0
    assert on(fake_catalogue(volume), "info", "--json").document["problems"]


def test_a_stub_that_cannot_be_read_fails_alone(on: Run, tmp_path: Path) -> None:
    store = WindowsStore()
    files = [store.add_file(bytes([number]) * 9000) for number in range(2)]
    tree = [Entry("bad", file=files[0]), Entry("good", file=files[1])]
    catalogue = fake_catalogue(FakeVolume(tree, store, unreadable=["bad"]))
    done = on(catalogue, "restore", "-o", tmp_path / "out", "--json")
    assert done.code == 1
    statuses = {each["path"]: each["status"] for each in done.document["results"]}
    assert statuses == {"bad": "failed", "good": "restored"}
    assert "its attribute list is damaged" in done.document["problems"][0]
    info = on(catalogue, "info", "--json").document
    assert info["stub_formats"] == {"1.2": 1, "damaged": 1}
    assert on(catalogue, "cat", "bad").code == 3
    assert on(catalogue, "plan").code == 1


def test_a_damaged_stub_counts_for_the_store_that_it_names(on: Run) -> None:
    store = WindowsStore()
    file = store.add_file(bytes(9000))
    damaged = bytearray(file.stub)
    damaged[-1] ^= 1
    tree = [Entry("a", file=file), Entry("b", file=file, reparse=bytes(damaged))]
    (found,) = on(fake_catalogue(FakeVolume(tree, store)), "info", "--json").document["stores"]
    assert (found["stubs"], found["logical_bytes"]) == (2, 18_000)


def test_unknown_own_ranges_are_said_and_may_be_ignored(on: Run, tmp_path: Path) -> None:
    store = WindowsStore()
    file = store.add_file(bytes(range(250)) * 100)
    tree = [Entry("grown", file=file.recalled({25_000: b"x" * 50})), Entry("same", file=file)]
    catalogue = fake_catalogue(FakeVolume(tree, store, knows_own_ranges=False))
    done = on(catalogue, "restore", "same", "-o", tmp_path / "out")
    assert done.code == 0
    assert done.lines[0].startswith("rehydrate: 1 file: whether the stub held newer data")
    done = on(catalogue, "restore", "-o", tmp_path / "out")
    assert done.code == 1
    assert done.lines[0].startswith("rehydrate: grown: ")
    done = on(catalogue, "restore", "-o", tmp_path / "out", "--recall", "ignore", "--json")
    assert done.code == 0, done.err
    assert {each["recall"] for each in done.document["results"]} == {"unchecked", None}
    assert on(catalogue, "cat", "grown").code == 2
    assert on(catalogue, "cat", "grown", "--recall", "ignore", "--length", "0").code == 0


def test_versions_are_found_by_number_and_by_the_end_of_their_names(on: Run) -> None:
    names = ["ONE 08/18/2016-06:22", "TWO 08/18/2016-06:22", "ONE 08/19/2016-06:22"]
    catalogue = fake_catalogue(*(plain(name) for name in "abc"), names=names)
    listed = on(catalogue, "versions").out.splitlines()
    assert listed[1].split()[:2] == ["1", "-"]
    assert on(catalogue, "ls").out == "c\n"
    assert on(catalogue, "ls", "--version", "2").out == "b\n"
    assert on(catalogue, "ls", "--version", "one 08/18/2016-06:22").out == "a\n"
    assert on(catalogue, "ls", "--version", "08/19/2016-06:22").out == "c\n"
    done = on(catalogue, "ls", "--version", "08/18/2016-06:22")
    assert (done.code, "several versions" in done.lines[0]) == (2, True)
    done = on(catalogue, "ls", "--version", "4")
    assert (done.code, "no version '4'" in done.lines[0]) == (2, True)
    assert "  3 of 3" in on(catalogue, "info").out


def test_a_volume_without_versions_is_refused(on: Run) -> None:
    done = on(fake_catalogue(), "ls")
    assert done.code == 2


def test_info_of_odd_volumes(on: Run) -> None:
    store = WindowsStore()
    tiny = store.add_file(b"tiny")
    snapshot = VolumeFacts(
        source="fake", label="DATA\x1b", serial=0xABC, size=1 << 30, snapshot="{GUID}"
    )
    settings = {"dedupConfig.01.xml": b'<a enabled="1"/>', "dedupConfig.02.xml": b"<"}
    volume = FakeVolume(
        [Entry("a", file=tiny), Entry("cloud", reparse=CLOUD)],
        store,
        facts=snapshot,
        settings=settings,
    )
    done = on(fake_catalogue(volume), "info")
    assert done.code == 0
    for text in (
        "DATA\\x1b",
        "0000000000000ABC",
        "?, 1.00 GiB",
        "shadow copy",
        "cloud file 0x9000301A: 1",
        "nothing: its containers are larger",
        "a.enabled",
    ):
        assert text in done.out, text
    broken = FakeVolume([], settings=settings)

    def fail() -> None:
        raise StoreReadError("bad sector")

    vars(broken)["settings"] = fail
    done = on(fake_catalogue(broken), "info")
    assert done.code == 0
    assert done.lines == ["rehydrate: the settings cannot be read: bad sector"]


def test_containers_are_counted_by_generation(on: Run) -> None:
    store = WindowsStore(data_limit=1)
    file = store.add_file(bytes(range(200)) * 100, chunks=2000)
    for generation in range(2, 9):
        store.compact("Data", 1, generation, keep_old=True)
    done = on(fake_catalogue(FakeVolume([Entry("a", file=file)], store)), "info")
    assert "containers, " in done.out
    assert "(generation 0x1: " in done.out
    assert ", ..., 0x5: 1, 0x6: 1, 0x7: 1, 0x8: 1)" in done.out


def test_names_with_halves_of_pairs_go_from_a_list_to_the_target(on: Run, tmp_path: Path) -> None:
    catalogue = fake_catalogue(plain("x\ud800y", "z"))
    entries = on(catalogue, "ls", "--json").document["entries"]
    assert entries[0]["path"] == "x\udced\udca0\udc80y"
    names = tmp_path / "names"
    names.write_bytes("X\ud800Y\0".encode("utf-8", "surrogatepass"))
    words = ["--files-from", names, "-0", "-o", tmp_path / "out"]
    done = on(catalogue, "restore", *words)
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_case_is_folded_by_the_table_of_the_volume_and_by_nothing_else(on: Run) -> None:
    catalogue = fake_catalogue(plain("straße", "Über", "name"))
    assert on(catalogue, "ls", "STRA?E", "*NAME").out == "name\nstraße\n"
    assert on(catalogue, "ls", "über*").code == 2
    assert on(catalogue, "ls", "*STRASSE").code == 2


def test_directories_above_come_along_with_the_spelling_of_the_volume(
    on: Run, tmp_path: Path
) -> None:
    tree = [
        Entry("Top", directory=True, times=(0, FUTURE, 0, 0)),
        Entry("Top/Mid", directory=True, times=(0, FUTURE, 0, 0)),
        Entry("Top/Mid/file", data=b"x"),
        Entry("Top/other", data=b"y"),
    ]
    done = on(fake_catalogue(FakeVolume(tree)), "restore", "top/mid/FILE", "-o", tmp_path / "out")
    assert done.code == 0
    seconds = (FUTURE - 116_444_736_000_000_000) // 10**7
    assert (tmp_path / "out/Top/Mid").stat().st_mtime == seconds
    assert (tmp_path / "out/Top").stat().st_mtime == seconds
    assert not (tmp_path / "out/Top/other").exists()


@pytest.mark.parametrize("batch", [1, 2, 4096])
def test_what_is_chosen_does_not_depend_on_batches(
    on: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("rehydrate.cli.volume_source._BATCH", batch)
    catalogue = fake_catalogue(plain("a/b/one.txt", "a/b/two.bin", "c/three.txt", "d/four"))
    words = ["*.TXT", "*.none", "-o", tmp_path / "out", "--json"]
    done = on(catalogue, "restore", *words)
    assert done.code == 1
    assert done.document["unmatched"] == ["*.none"]
    paths = [each["path"] for each in done.document["results"]]
    assert paths == ["a", "a/b", "c", "a/b/one.txt", "c/three.txt"]


def test_an_empty_list_chooses_nothing(on: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    catalogue = fake_catalogue(plain("a"))
    assert on(catalogue, "ls", "nothing").code == 2
    done = on(catalogue, "restore", "--files-from", tmp_path / "empty", "-o", tmp_path / "out")
    assert (done.code, "nothing to do" in done.out) == (0, True)
    done = on(catalogue, "restore", "--exclude", "*", "-o", tmp_path / "out")
    assert done.code == 2


def test_a_cancelled_search_stops(tmp_path: Path) -> None:
    source = VolumeSource(fake_catalogue(plain("a", "b")), tmp_path)
    token = CancelToken()
    chosen = source.choose(Wanted(), cancel=token)
    token.cancel()
    with pytest.raises(Cancelled):
        list(chosen.requests())
    with pytest.raises(Cancelled):
        source.choose(Wanted(), cancel=token)


def test_long_walks_are_drawn(on: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[tuple[str, int]] = []

    class Bar:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def count(self, what: str, number: int) -> None:
            counts.append((what, number))

    monkeypatch.setattr("rehydrate.cli.volume_source.progress_bar", Bar)
    volume = plain(*(f"{number:04}" for number in range(1100)))
    assert on(fake_catalogue(volume), "plan").code == 0
    assert counts == [
        ("listing", 512), ("listing", 1024), ("looking at files", 512), ("looking at files", 1024),
    ]  # fmt: skip


def test_a_version_is_needed_to_read(tmp_path: Path) -> None:
    source = VolumeSource(fake_catalogue(), tmp_path)
    with pytest.raises(RequestError):
        source.pick_version(None)
