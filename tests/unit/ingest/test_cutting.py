from hashlib import shake_128

import pyfastcdc
import pytest

from rehydrate.errors import UnsupportedFormatError
from rehydrate.ingest.cutting import Cutter
from rehydrate.stores.layout import ChunkerSettings

DATA = shake_128(b"rehydrate golden").digest(1 << 20)
SMALL = ChunkerSettings(min_size=1024, avg_size=2048, max_size=4096, seed=7, normalisation=2)


def ends(settings: ChunkerSettings, data: bytes) -> list[int]:
    return [end for _, end in Cutter(settings).cut(memoryview(data), last=True)]


def test_borders_are_what_they_were_when_the_first_store_was_written() -> None:
    """If this fails, the library cuts otherwise: nothing old would be found again."""
    assert ends(ChunkerSettings(), DATA) == [
        126395, 246991, 317253, 399706, 505768, 636840, 767912, 888855, 955605, 1048576,
    ]  # fmt: skip
    assert ends(SMALL, DATA[:20_000]) == [
        2671, 6134, 8340, 10949, 13222, 15510, 16787, 19443, 20000,
    ]  # fmt: skip


@pytest.mark.parametrize("step", [4097, 5000, 8192, 100_000])
def test_borders_do_not_depend_on_the_buffers(step: int) -> None:
    data = memoryview(DATA[:200_000])
    cutter = Cutter(SMALL)
    found: list[int] = []
    start = end = 0
    while start < len(data):
        end = min(end + step, len(data))
        for first, stop in cutter.cut(data[start:end], last=end == len(data)):
            assert first == (found[-1] - start if found and found[-1] >= start else 0)
            found.append(start + stop)
        start = found[-1] if found else 0
    assert found == ends(SMALL, bytes(data))


def test_what_is_not_larger_than_the_smallest_chunk_is_one_chunk() -> None:
    for size in (1, 1023, 1024):
        assert ends(SMALL, DATA[:size]) == [size]
    assert ends(SMALL, b"") == []


def test_the_slow_fallback_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        __module__ = "pyfastcdc.py.fastcdc"

    monkeypatch.setattr(pyfastcdc, "FastCDC", Slow)
    with pytest.raises(UnsupportedFormatError, match="compiled part of pyfastcdc is missing"):
        Cutter(SMALL)
