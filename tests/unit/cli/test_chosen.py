import io
import json
import sys
import time
from pathlib import Path

import pytest

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.cli.chosen import Wanted, choose
from rehydrate.cli.planning import load_plan
from rehydrate.errors import CorruptMetadataError, FormatError, RequestError
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.store import create_store

MANY = 30_000
LIMIT = 0.15 * 4  # the budget is 0.15 s; machines that run tests are busy with other things


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chosen")
    source = root / "source"
    (source / "a" / "b").mkdir(parents=True)
    for name in ("a/b/one.raw", "a/b/two.txt", "a/three.raw", "four.raw", "[odd].raw"):
        (source / name).write_text(name)
    create_store(root / "store")
    optimize(source, root / "store")
    return root / "store"


def chosen(
    store: Path, *patterns: str, excludes: tuple[str, ...] = (), out: Path | None = None
) -> list[str]:
    wanted = Wanted(patterns=patterns, excludes=excludes)
    with NativeCatalogue.open(store) as catalogue:
        return [path.decode() for path in choose(catalogue, wanted, out=out).paths]


def test_nothing_given_is_everything(store: Path) -> None:
    assert len(chosen(store)) == 7


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/b", ["a/b", "a/b/one.raw", "a/b/two.txt"]),
        ("*.raw", ["[odd].raw", "a/b/one.raw", "a/three.raw", "four.raw"]),
        ("a/*.raw", ["a/three.raw"]),
        ("/four.raw", ["four.raw"]),
        ("[odd].raw", ["[odd].raw"]),
        ("b*/", ["a/b", "a/b/one.raw", "a/b/two.txt"]),
    ],
)
def test_patterns(store: Path, pattern: str, expected: list[str]) -> None:
    assert chosen(store, pattern) == expected


def test_excludes_fit_at_any_depth_too(store: Path) -> None:
    assert chosen(store, "a", excludes=("*.raw",)) == ["a", "a/b", "a/b/two.txt"]


def test_directories_above_come_along_where_they_are_missing(store: Path, tmp_path: Path) -> None:
    assert chosen(store, "a/b/one.raw", out=tmp_path) == ["a", "a/b", "a/b/one.raw"]
    (tmp_path / "a").mkdir()
    assert chosen(store, "a/b/one.raw", out=tmp_path) == ["a/b", "a/b/one.raw"]


def test_a_directory_that_an_interrupted_restore_left_private_comes_along(
    store: Path, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    assert chosen(store, "a/three.raw", out=tmp_path) == ["a/three.raw"]
    (tmp_path / ".rehydrate-0123").mkdir()
    assert chosen(store, "a/three.raw", out=tmp_path) == ["a", "a/three.raw"]


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(patterns=("nope",)),
        Wanted(patterns=("*.nope",)),
        Wanted(excludes=("*",)),
        Wanted(version=7),
        Wanted(patterns=("../a",)),
    ],
)
def test_what_cannot_be_is_a_request_error(store: Path, wanted: Wanted) -> None:
    with NativeCatalogue.open(store) as catalogue, pytest.raises(RequestError):
        choose(catalogue, wanted)


def test_unmatched_is_said_as_it_was_given(store: Path) -> None:
    wanted = Wanted(patterns=("*.nope", "four.raw"), paths=(b"a/three.raw", b"gone"))
    with NativeCatalogue.open(store) as catalogue:
        found = choose(catalogue, wanted)
    assert found.unmatched == ("*.nope", "gone")
    assert list(found.paths) == [b"a/three.raw", b"four.raw"]


def test_an_empty_list_chooses_nothing(store: Path) -> None:
    with NativeCatalogue.open(store) as catalogue:
        assert list(choose(catalogue, Wanted(paths=())).paths) == []


def test_lists_are_lines_or_end_with_zero_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list").write_bytes(b"a\nb\xff\r\n\n")
    assert Wanted.of(None, tmp_path / "list", None, None, null=False).paths == (b"a", b"b\xff")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"two\nlines\0b")))
    assert Wanted.of(None, Path("-"), None, None, null=True).paths == (b"two\nlines", b"b")


@pytest.mark.slow
def test_thirty_thousand_requests_are_made_quickly(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    for folder in range(MANY // 1000):
        (source / str(folder)).mkdir(parents=True)
        for number in range(1000):
            (source / str(folder) / str(number)).touch()
    create_store(tmp_path / "store")
    optimize(source, tmp_path / "store")
    times, counts = [], set()
    for _ in range(5):
        with NativeCatalogue.open(tmp_path / "store") as catalogue:
            started = time.perf_counter()
            found = choose(catalogue, Wanted(), out=tmp_path / "out").requests()
            times.append(time.perf_counter() - started)
            counts.add(len(found))
    assert counts == {MANY + MANY // 1000}
    assert min(times) < LIMIT, times


GOOD = {
    "format": "rehydrate-selected-plan",
    "version": 1,
    "selection": {"store_version": 1, "patterns": [], "paths": None, "excludes": []},
    "plan": {},
}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "rehydrate-plan"},
        {"version": 2},
        {"selection": None},
        {"selection": {}},
        {"selection": {"store_version": 1, "patterns": [1], "paths": None, "excludes": []}},
        {"selection": {"store_version": "x", "patterns": [], "paths": None, "excludes": []}},
        {"plan": 7},
        {},
    ],
)
def test_what_is_no_saved_plan_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / "plan").write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(FormatError, match="plan"):
        load_plan(tmp_path / "plan")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 100_000])
def test_what_is_no_json_is_no_plan(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan").write_text(text)
    with pytest.raises(CorruptMetadataError):
        load_plan(tmp_path / "plan")
