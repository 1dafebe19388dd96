import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rehydrate.cli import guard
from rehydrate.cli.guard import call, guarded
from rehydrate.errors import StoreError


def raising(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


def test_the_code_of_the_work_is_the_code_of_the_command() -> None:
    assert guarded(lambda: 1, as_json=False) == 1


def test_an_error_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(StoreError("no\nstore")), as_json=False) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "rehydrate: no\\x0astore\n"


def test_with_json_an_error_is_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(StoreError("no store")), as_json=True) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "rehydrate-error"
    assert found["exit_code"] == 3
    assert found["error"]["message"] == "no store"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "run the same command again"),
        (FileNotFoundError(2, "No such file", "a\tb"), 1, "a\\x09b: No such file"),
        (OSError("odd"), 1, "odd"),
        (MemoryError(), 1, "not enough memory"),
    ],
)
def test_what_the_system_raises_is_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, text: str
) -> None:
    assert guarded(raising(error), as_json=False) == code
    assert text in capsys.readouterr().err


def test_a_reader_that_went_away_is_no_complaint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "hide_broken_pipe", lambda: None)
    assert guarded(raising(BrokenPipeError()), as_json=False) == 141
    assert capsys.readouterr().err == ""


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(raising(ZeroDivisionError()), as_json=False)


@pytest.mark.parametrize(
    "values",
    [
        {"out": Path("s3://bucket/x")},
        {"html": Path("FILE:///x")},
        {"stores": [Path("here"), Path("az://box/x")]},
    ],
)
def test_url_is_no_path(values: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(lambda **_: 0, values) == 2
    said = capsys.readouterr().err
    assert "://" in said
    assert "is a URL: only a directory or file of this machine can stand there" in said


@pytest.mark.parametrize("path", ["out", "/s3:/x", "a/s3:/x", "C:/x", ".", "x:y"])
def test_other_paths_are_none(path: str) -> None:
    assert call(lambda **_: 0, {"out": Path(path), "source": "s3://bucket/x"}) == 0
