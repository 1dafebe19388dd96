"""Sizes, times and counts are written short."""

from rehydrate.units import counted, duration, size


def test_numbers_are_short() -> None:
    assert [size(n) for n in (0, 1023, 1024, 1048524, 1048525, 5 << 30, 2**63)] == [
        "0 B", "1023 B", "1.00 KiB", "1023.9 KiB", "1.00 MiB", "5.00 GiB", "8.00 EiB",
    ]  # fmt: skip
    assert [duration(s) for s in (0, 59.94, 65, 3661, 360_000)] == [
        "0.0 s", "59.9 s", "1 min 05 s", "1 h 01 min", "100 h 00 min",
    ]  # fmt: skip
    assert counted(1, "file") == "1 file"
    assert counted(1200, "entry", "entries") == "1,200 entries"
    assert counted(0, "entry", "entries") == "0 entries"
