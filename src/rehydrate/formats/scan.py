"""Finding records in a container that is fed from front to back: the same for every format."""

from collections.abc import Callable, Hashable, Sequence
from typing import Final, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.formats.walk import RecordRef

__all__ = ["Places", "RecordFinder", "RecordShape", "Words"]

Words: TypeAlias = npt.NDArray[np.uint64]
Places: TypeAlias = npt.NDArray[np.int64]

_MOST_TRIES: Final = 8
"""Records that claim to be the wanted one, are whole, and have other bytes."""
_WORD: Final = np.dtype("<u8")
_MAGIC_BITS: Final = np.uint64(0xFFFFFFFF)


@attrs.frozen
class RecordShape:
    """What a record of a format looks like from outside; records are aligned to 8 bytes.

    Attributes:
        magic: Its first four bytes.
        header_size: Bytes from which :attr:`measure` can tell everything.
        digest_words: From the words of a block and the places of magics in it (in words), the first
            eight bytes of each record's digest; places are at least ``header_size`` from the end.
        measure: From a block and a place, what :attr:`key` says for the record, and its size in
            bytes; ``None`` = it makes no sense.
        key: What tells wanted records apart without decoding.
        accept: Whether the bytes of a whole record are what is wanted.
    """

    magic: bytes
    header_size: int
    digest_words: Callable[[Words, Places], Words]
    measure: Callable[[bytes, int], tuple[Hashable, int] | None]
    key: Callable[[RecordRef], Hashable]
    accept: Callable[[bytes, RecordRef], bool]


class RecordFinder:
    """Finds records with a wanted digest, from the front of a container to its end.

    Every aligned place with the magic of a record is looked at, so that a damaged header between
    costs nothing but its own record. The record may have moved: only the digest decides. Records
    that claim a wanted digest and do not have it are counted, and after some of them the reference
    is given up, so that a container full of them costs neither time nor memory.
    """

    def __init__(self, shape: RecordShape, wanted: Sequence[RecordRef]) -> None:
        """Look for ``wanted``; answers carry positions in it."""
        self._shape = shape
        self._magic = np.uint64(int.from_bytes(shape.magic, "little"))
        self._wanted: dict[Hashable, list[tuple[int, RecordRef]]] = {}
        for number, ref in enumerate(wanted):
            self._wanted.setdefault(shape.key(ref), []).append((number, ref))
        self._tries = dict.fromkeys(self._wanted, _MOST_TRIES)
        self._digest_starts = np.frombuffer(b"".join(ref.digest[:8] for ref in wanted), _WORD)
        self._blocks: list[bytes] = []
        self._held = 0
        self._enough = shape.header_size

    def feed(self, block: memoryview) -> list[tuple[int, bytes]]:
        """Take the next bytes; see :class:`~rehydrate.formats.walk.RecordScanner`."""
        self._blocks.append(bytes(block))
        self._held += len(block)
        if self._held < self._enough:
            return []
        data = b"".join(self._blocks)
        found: list[tuple[int, bytes]] = []
        # From here on a header may begin that is not whole yet.
        end = keep = -(-(len(data) - self._shape.header_size + 1) // 8) * 8
        self._enough = self._shape.header_size
        for position in self._candidates(data, end):
            measured = self._shape.measure(data, position)
            if measured is None or not self._tries.get(measured[0]):
                continue
            key, size = measured
            if size > len(data) - position:
                keep, self._enough = position, size
                break
            record = data[position : position + size]
            numbers = [n for n, ref in self._wanted[key] if self._shape.accept(record, ref)]
            found += [(number, record) for number in numbers]
            self._tries[key] = 0 if numbers else self._tries[key] - 1
        self._blocks = [data[keep:]]
        self._held = len(data) - keep
        return found

    def _candidates(self, data: bytes, end: int) -> list[int]:
        """Return the aligned places before ``end`` with a record's magic and a wanted digest."""
        words = np.frombuffer(data, _WORD, len(data) // _WORD.itemsize)
        places = np.flatnonzero((words[: end // _WORD.itemsize] & _MAGIC_BITS) == self._magic)
        wanted = np.isin(self._shape.digest_words(words, places), self._digest_starts)
        starts: list[int] = (places[wanted] * _WORD.itemsize).tolist()
        return starts
