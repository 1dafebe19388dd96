"""Cutting files into chunks where their content says so (FastCDC)."""

from collections.abc import Iterator
from typing import Final, Literal, cast

import pyfastcdc

from rehydrate.errors import UnsupportedFormatError
from rehydrate.stores.layout import ChunkerSettings

__all__ = ["Cutter"]

_NAME: Final = "fastcdc-2020"
_VERSION: Final = 1
_LARGEST: Final = 8 << 20
_STRENGTHS: Final = (0, 1, 2, 3)


class Cutter:
    """Finds borders in buffers; not safe to use from two threads at once."""

    def __init__(self, settings: ChunkerSettings) -> None:
        """Make a cutter.

        Args:
            settings: How to cut, from the store's configuration.

        Raises:
            UnsupportedFormatError: The settings name an algorithm that this release does not have,
                or the compiled chunker is missing: the pure-Python one is 400 times slower.
        """
        if (settings.name, settings.version) != (_NAME, _VERSION):
            raise UnsupportedFormatError(
                f"the store is cut by {settings.name} version {settings.version}, which this "
                "release does not know"
            )
        if settings.normalisation not in _STRENGTHS:
            raise UnsupportedFormatError(
                f"the store is cut with normalisation {settings.normalisation}, which this release "
                "does not know"
            )
        if settings.max_size > _LARGEST:
            raise UnsupportedFormatError(
                f"the store is cut into chunks of up to {settings.max_size} bytes; this release "
                f"stores chunks of at most {_LARGEST}"
            )
        if not pyfastcdc.FastCDC.__module__.startswith("pyfastcdc.cy"):
            raise UnsupportedFormatError(
                "the compiled part of pyfastcdc is missing, and cutting without it would take days: "
                "install a wheel of pyfastcdc"
            )
        try:
            self._cdc = pyfastcdc.FastCDC(
                settings.avg_size,
                min_size=settings.min_size,
                max_size=settings.max_size,
                normalized_chunking=cast(Literal[0, 1, 2, 3], settings.normalisation),
                seed=settings.seed,
            )
        except (ValueError, OverflowError) as error:
            raise UnsupportedFormatError(f"the store's chunker settings: {error}") from error
        self.min_size = settings.min_size
        self.max_size = settings.max_size

    def cut(self, data: memoryview, *, last: bool) -> Iterator[tuple[int, int]]:
        """Return the chunks at the front of ``data`` whose borders are certain.

        A border depends on at most ``max_size`` bytes, so unless the file ends here, cutting stops
        where fewer are left.

        Args:
            data: Bytes of a file from a border on.
            last: Whether the file (or its data extent) ends with them.

        Yields:
            Start and end of each chunk in ``data``.
        """
        size = len(data)
        if last and 0 < size <= self.min_size:
            yield 0, size
            return
        limit = size if last else size - self.max_size
        for chunk in self._cdc.cut_buf(data):
            if not last and chunk.offset > limit:
                return
            yield chunk.offset, chunk.offset + chunk.length
