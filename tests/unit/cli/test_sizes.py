import pytest

from rehydrate.cli.sizes import counted, duration, moment, parse_size, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("4096", 4096),
        ("256M", 256 << 20),
        ("256MiB", 256 << 20),
        ("256 mb", 256 << 20),
        ("1.5G", 3 << 29),
        ("2T", 2 << 40),
        ("1P", 1 << 50),
        ("7B", 7),
        ("0.5K", 512),
    ],
)
def test_sizes_are_read_with_powers_of_1024(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "M", "-1", "1.M", "1e9", "12Q", "0x10", "9" * 40])
def test_what_is_no_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (10 * 1024, "10.0 KiB"),
        (1024**2 - 1, "1.00 MiB"),
        (1 << 30, "1.00 GiB"),
        (5000 << 50, "4.88 EiB"),
    ],
)
def test_sizes_are_written_short(number: int, expected: str) -> None:
    assert size(number) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.421, "0.42 s"), (12.34, "12.3 s"), (125, "2 min 05 s"), (3 * 3600 + 420, "3 h 07 min")],
)
def test_durations_are_written_short(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_counts_have_their_plural() -> None:
    assert counted(1, "file") == "1 file"
    assert counted(1204, "file") == "1,204 files"
    assert counted(0, "entry", "entries") == "0 entries"


def test_a_moment_far_from_today_is_still_shown() -> None:
    assert moment(0).startswith(("1970", "1969"))
    assert moment(10**30) == f"@{10**21}"
