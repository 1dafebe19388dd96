import os
import re
from pathlib import Path

import pytest

from rehydrate.errors import StoreError, StoreLockedError
from rehydrate.ingest.lock import locked
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.store import create_store, opened_store
from rehydrate.ports import SystemFiles
from tests.fault.broken_files import BrokenFiles


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    store = tmp_path / "store"
    create_store(store)
    (tmp_path / "source").mkdir()
    with opened_store(store), pytest.raises(StoreLockedError) as caught:
        optimize(tmp_path / "source", store)
    assert re.search(
        rf"process {os.getpid()} on host \S+ \(boot \S+\) is writing", str(caught.value)
    )
    assert caught.value.retryable
    optimize(tmp_path / "source", store)


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff", b"7"])
def test_an_unreadable_note_does_not_hide_the_lock(tmp_path: Path, text: bytes) -> None:
    files = SystemFiles()
    fd = os.open(tmp_path, os.O_RDONLY)
    with locked(files, fd, "here"):
        (tmp_path / "lock").write_bytes(text)
        with pytest.raises(StoreLockedError, match="another process is writing to here"):
            locked(files, fd, "here").__enter__()
    os.close(fd)


def test_a_file_system_without_locks_is_refused(tmp_path: Path) -> None:
    def no_lock(_fd: int) -> bool:
        raise OSError(95, "Operation not supported")

    files = BrokenFiles()
    vars(files)["lock"] = no_lock
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(StoreError, match="has no locks"), locked(files, fd, "here"):
        pass
    os.close(fd)


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(StoreError, match="cannot write to here"), locked(SystemFiles(), fd, "here"):
        pass
    os.close(fd)


def test_a_system_without_boot_id_still_has_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehydrate.ingest.lock._BOOT_ID", tmp_path / "none")
    fd = os.open(tmp_path, os.O_RDONLY)
    with locked(SystemFiles(), fd, "here"):
        assert b'"boot": ""' in (tmp_path / "lock").read_bytes()
    os.close(fd)
