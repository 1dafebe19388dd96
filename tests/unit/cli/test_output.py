import io
import json
import sys

import pytest

from rehydrate.cli.output import Json, document, paths, shown, table


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"plain", "plain"),
        ("h\u00e4\u00df\u2713".encode(), "h\u00e4\u00df\u2713"),
        (b"new\nline", "new\\x0aline"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"not \xff utf-8", "not \\xff utf-8"),
        ("turned \u202egnp.exe".encode(), "turned \\u202egnp.exe"),
        ("half \ud800", "half \\ud800"),
        ("c1 \x9b31m", "c1 \\x9b31m"),
    ],
)
def test_names_cannot_move_the_cursor(path: str | bytes, expected: str) -> None:
    assert shown(path) == expected


def test_document_has_format_and_version_first(capsys: pytest.CaptureFixture[str]) -> None:
    document("thing", {"a": 1})
    text = capsys.readouterr().out
    assert list(json.loads(text)) == ["format", "version", "a"]
    assert json.loads(text)["format"] == "rehydrate-thing"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_rows_are_printed_while_they_are_made(
    capsys: pytest.CaptureFixture[str], count: int
) -> None:
    rows: list[Json] = [{"n": n} for n in range(count)]
    document("thing", {"a": {}}, rows=("rows", iter(rows)), after=lambda: {"end": True})
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == rows
    assert list(found) == ["format", "version", "a", "rows", "end"]


def test_a_name_that_is_no_utf8_survives_json(capsys: pytest.CaptureFixture[str]) -> None:
    document("thing", {"path": b"\xff".decode("utf-8", "surrogateescape")})
    text = capsys.readouterr().out
    assert json.loads(text)["path"].encode("utf-8", "surrogateescape") == b"\xff"


def test_piped_paths_are_bytes_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, write_through=True))
    paths([b"a\xff", b"b"], end=None)
    paths([b"c\nd"], end=b"\0")
    assert raw.getvalue() == b"a\xff\nb\nc\nd\0"


def test_columns_are_aligned_to_their_side() -> None:
    assert table([["name", "n"], ["x", "10"]], right=" r") == ["name   n", "x     10"]
