"""Errors carry their evidence, and say where."""

import errno
import inspect

import pytest

from rehydrate import errors
from rehydrate.errors import (
    Cancelled,
    ChunkMismatchError,
    ContainerNotFoundError,
    LimitError,
    NoSpaceError,
    NotReadyError,
    PublishError,
    RequestError,
    RestoreError,
    ShortReadError,
    StoreError,
    UnsupportedFormatError,
)

CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, RestoreError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_is_public_and_has_a_code_and_an_hresult(kind: type[RestoreError]) -> None:
    assert kind.__name__ in errors.__all__
    assert kind.default_code
    assert 0 <= kind.default_hresult < 2**32


def test_codes_of_classes_are_distinct() -> None:
    codes = [kind.default_code for kind in CLASSES]
    assert len(set(codes)) == len(codes)


def test_text_names_the_place_that_the_message_leaves_out() -> None:
    error = ChunkMismatchError("the digest of a chunk is wrong", container="Data/x", offset=7)
    assert str(error) == "the digest of a chunk is wrong (container Data/x, offset 7)"
    assert str(ContainerNotFoundError("no Data/x", container="Data/x")) == "no Data/x"


def test_at_fills_only_what_is_unknown() -> None:
    error = ChunkMismatchError("m", offset=1).at(offset=2, container="c", length=3, file="f")
    assert (error.offset, error.container, error.length, error.file) == (1, "c", 3, "f")
    assert error.at(phase="data").phase == "data"


def test_copy_for_a_file_keeps_type_fields_and_cause() -> None:
    cause = OSError("x")
    error = ShortReadError("m", wanted=9, got=4, container="c", offset=1)
    error.__cause__ = cause
    copied = error.for_file("a/b")
    assert type(copied) is ShortReadError
    assert (copied.file, copied.got, copied.__cause__, str(copied)) == ("a/b", 4, cause, str(error))
    assert error.file is None


def test_operating_system_errors_keep_their_number() -> None:
    error = PublishError.of(OSError(errno.EACCES, "denied"), "open it", file="f")
    assert type(error) is PublishError
    assert isinstance(error, OSError)
    assert (error.errno, str(error), error.file) == (errno.EACCES, "cannot open it: denied", "f")


def test_copies_for_files_keep_the_number() -> None:
    error = PublishError.of(OSError(errno.EACCES, "denied"), "open it").for_file("f")
    assert (error.errno, error.strerror, error.file) == (errno.EACCES, "denied", "f")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_has_its_own_class(number: int) -> None:
    assert type(PublishError.of(OSError(number, "full"), "write")) is NoSpaceError


def test_matching_builtins_catch_ours() -> None:
    assert isinstance(ContainerNotFoundError("m"), FileNotFoundError)
    assert isinstance(LimitError("m"), ValueError)
    assert isinstance(RequestError("m"), ValueError)


def test_waiting_and_cancelling_are_retryable() -> None:
    assert NotReadyError(retry_after=2.5).retry_after == pytest.approx(2.5)
    assert NotReadyError().retryable
    assert Cancelled().resumable


def test_record_for_programs_is_flat_and_complete() -> None:
    record = LimitError("too much", file="f").as_record()
    assert record["type"] == "LimitError"
    assert record["hresult"] == "0x80070057"
    assert set(record) == {
        "type", "code", "message", "phase", "file", "container", "offset", "length", "retryable",
        "resumable", "hresult",
    }  # fmt: skip


def test_result_code_is_the_given_one_else_that_of_the_code_else_that_of_the_class() -> None:
    assert StoreError("m").hresult == errors.DDP_E_UNEXPECTED
    assert StoreError("m", code="store.other").hresult == errors.DDP_E_NOT_FOUND
    assert StoreError("m", code="store.other", hresult=5).hresult == 5
    assert StoreError("m", code="vendor.own").hresult == errors.DDP_E_UNEXPECTED


def test_volumes_that_cannot_be_read_have_codes_of_their_own() -> None:
    found = {
        code: UnsupportedFormatError("m", code=code).hresult
        for code in ("volume.refs", "volume.damaged", "volume.no-store")
    }
    assert found == {
        "volume.refs": errors.DDP_E_VOLUME_UNSUPPORTED,
        "volume.damaged": errors.DDP_E_FILE_SYSTEM_CORRUPT,
        "volume.no-store": errors.DDP_E_VOLUME_DEDUP_DISABLED,
    }


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EACCES, errors.E_ACCESSDENIED),
        (errno.EIO, errors.E_WRITE_FAULT),
        (errno.ENOSPC, errors.E_DISK_FULL),
    ],
)
def test_failed_calls_of_the_operating_system_have_the_code_of_windows(
    number: int, expected: int
) -> None:
    assert PublishError.of(OSError(number, "no"), "write").hresult == expected
