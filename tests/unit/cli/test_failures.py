import pytest

from rehydrate.cli.failures import Failure, collapse, exit_code_of, line_of, record_of
from rehydrate.errors import (
    Cancelled,
    ChunkMismatchError,
    ContainerNotFoundError,
    CorruptMetadataError,
    LimitError,
    NoSpaceError,
    PublishError,
    RequestError,
    RestoreError,
    StoreError,
    StoreLockedError,
    UnsupportedFormatError,
)

MISSING = ContainerNotFoundError("container Data/1 is not in the backup", container="Data/1")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Cancelled(), 130),
        (RequestError("x"), 2),
        (LimitError("x"), 2),
        (StoreError("x", code="source.unreadable"), 2),
        (RestoreError("x", code="plan.corrupt"), 2),
        (StoreError("x"), 3),
        (StoreLockedError("x"), 3),
        (UnsupportedFormatError("x"), 3),
        (NoSpaceError("x"), 1),
        (PublishError("x"), 1),
    ],
)
def test_exit_code_says_who_is_to_blame(error: RestoreError, code: int) -> None:
    assert exit_code_of(error) == code


def test_line_names_file_and_remedy() -> None:
    line = line_of(
        ChunkMismatchError("the digest of a chunk is wrong", container="Data/1"), file="a"
    )
    assert line.startswith("a: the digest of a chunk is wrong (container Data/1) - ")
    assert "rehydrate verify --read-data" in line


def test_a_remedy_in_the_message_is_not_said_twice() -> None:
    line = line_of(StoreError("there is nothing: `rehydrate optimize` makes it"))
    assert " - " not in line


def test_the_error_number_of_the_system_chooses_the_remedy() -> None:
    error = PublishError.of(OSError(30, "Read-only file system"), "make a file")
    assert "choose another target" in line_of(error)


def test_line_is_one_line_whatever_the_name() -> None:
    assert "\n" not in line_of(MISSING, file="a\nb")


def test_equal_failures_are_one_line_with_the_first_names_and_the_count() -> None:
    failures = [Failure(f"file {n}", MISSING.for_file(f"file {n}")) for n in range(1000)]
    (line,) = collapse(failures)
    assert line.startswith("1,000 files: container Data/1")
    assert line.endswith("file 0, file 1, file 2 and 997 more")


def test_different_failures_stay_apart_and_their_number_is_bounded() -> None:
    failures = [
        Failure(str(n), ContainerNotFoundError("gone", container=f"Data/{n}")) for n in range(100)
    ]
    lines = collapse(failures)
    assert len(lines) == 21
    assert "80 more kinds" in lines[-1]


def test_messages_that_differ_by_the_name_only_are_equal() -> None:
    failures = [
        Failure(name, StoreError(f"a directory stands where {name!r} must go")) for name in "abcd"
    ]
    (line,) = collapse(failures)
    assert line.startswith("4 files: a directory stands where the name must go")


def test_record_has_the_remedy_beside_the_fields() -> None:
    record = record_of(MISSING)
    assert record["code"] == "store.container-missing"
    assert isinstance(record["remedy"], str)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("media.file", "correct the file of --media"),
        ("thaw.prices", "correct the file of --price-table"),
        ("tape.inventory", ""),
        ("ltfs.index", ""),
    ],
)
def test_what_is_beside_the_store_is_no_damage_of_the_store(code: str, remedy: str) -> None:
    line = line_of(CorruptMetadataError("it is no JSON", code=code))
    assert line.partition(" - ")[2] == remedy
    assert "rehydrate verify" in line_of(CorruptMetadataError("it is no map"))
