"""References and records of a Windows store as columns, and how they are brought together.

A store has millions of chunks, and one Python object for each would be too much: everything here
is a numpy array with one row of less than 100 bytes for each distinct chunk.
"""

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.chunks import Bools, Ints, Rows
from rehydrate.formats.walk import DATA, STREAM

__all__ = [
    "BAD",
    "BY_CHECKSUM",
    "BY_DIGEST",
    "BY_HEADER",
    "DATA_FOLDER",
    "FOLDERS",
    "HOTSPOT",
    "HOTSPOT_FOLDER",
    "RECORD_DTYPE",
    "STREAM_FOLDER",
    "WANTED_DTYPE",
    "Copies",
    "References",
    "Sizes",
    "Words",
    "digest_words",
    "keys_of",
]

Words = npt.NDArray[np.uint64]

HOTSPOT: Final = "Hotspot"
"""Folder with copies of chunks that many files need."""
FOLDERS: Final = (DATA, STREAM, HOTSPOT)
DATA_FOLDER, STREAM_FOLDER, HOTSPOT_FOLDER = range(3)
"""Positions in :data:`FOLDERS`."""

BAD, BY_CHECKSUM, BY_DIGEST, BY_HEADER = range(4)
"""What is known of a record: damaged, or the strongest check that it has passed."""

RECORD_DTYPE: Final = np.dtype(
    [
        ("folder", "u1"),
        ("state", "u1"),
        ("kind", "<u2"),
        ("place", "<u4"),
        ("container", "<u4"),
        ("local_id", "<u4"),
        ("offset", "<u8"),
        ("length", "<u8"),
        ("logical", "<u8"),
        ("digest", "V32"),
    ]
)
"""A record that was found: ``place`` is the number of its container file, ``logical`` its size after
decoding, 0 = not known."""

WANTED_DTYPE: Final = np.dtype(
    [
        ("container", "<u4"),
        ("local_id", "<u4"),
        ("generation", "<u4"),
        ("sure", "u1"),
        ("live", "u1"),
        ("offset", "<u8"),
        ("length", "<u8"),
        ("size", "<u8"),
        ("digest", "V32"),
    ]
)
"""A record that a stub or a stream map names. ``sure``: whether its logical size is certain; ``live``:
whether a file needs it, as far as stubs were read."""

_PENDING: Final = 1 << 20
_MOST_SIZES: Final = 8
_MOST_COPIES: Final = 32
"""Records of one digest that are looked at."""
_HALF: Final = 2


def keys_of(rows: Rows) -> Words:
    """Return container id and LocalId of each row as one number."""
    keys: Words = (rows["container"].astype(np.uint64) << np.uint64(32)) | rows["local_id"]
    return keys


def digest_words(rows: Rows) -> Words:
    """Return the digests of rows as words, shape ``(n, 4)``."""
    plain = np.ascontiguousarray(rows["digest"])
    words: Words = plain.view(np.dtype("<u8")).reshape(-1, 4)
    return words


class References:
    """Collects references and keeps each distinct one once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._merged: Rows = np.zeros(0, WANTED_DTYPE)
        self._batches: list[Rows] = []
        self._pending = 0

    def add(self, rows: Rows) -> None:
        """Take references (:data:`WANTED_DTYPE`)."""
        self._batches.append(rows)
        self._pending += len(rows)
        if self._pending >= max(_PENDING, len(self._merged)):
            self._merge()

    def rows(self) -> Rows:
        """Return the distinct references, ascending by :func:`keys_of`."""
        self._merge()
        return self._merged

    def _merge(self) -> None:
        """Bring equal ones together: the hint of the newest generation, and all that is certain."""
        rows = np.concatenate([self._merged, *self._batches])
        self._batches, self._pending = [], 0
        keys, words = keys_of(rows), digest_words(rows)
        order = np.lexsort((rows["generation"], rows["size"], words[:, 0], keys))
        rows, keys, words = rows[order], keys[order], words[order]
        same = (keys[1:] == keys[:-1]) & (words[1:] == words[:-1]).all(axis=1)
        same &= (rows["size"][1:] == rows["size"][:-1]) & (
            rows["length"][1:] == rows["length"][:-1]
        )
        firsts = np.flatnonzero(np.concatenate([np.ones(min(len(rows), 1), np.bool_), ~same]))
        if not len(firsts):
            return
        lasts = np.append(firsts[1:], len(rows)) - 1
        merged = rows[lasts]
        for name in ("sure", "live"):
            merged[name] = np.maximum.reduceat(rows[name], firsts)
        self._merged = merged


class Sizes:
    """Tells logical sizes by digest: the header of a compressed chunk does not have its size."""

    def __init__(self, wanted: Rows) -> None:
        """Sort the references (:data:`WANTED_DTYPE`)."""
        first = digest_words(wanted)[:, 0]
        order = np.lexsort((1 - wanted["sure"], first))
        self._first = first[order]
        self._sizes = wanted["size"][order]
        self._sure = wanted["sure"][order]

    def find(self, digests: Sequence[bytes]) -> list[tuple[tuple[int, bool], ...]]:
        """Return the sizes that references claim for records, and whether each is certain.

        Args:
            digests: Digests of the records, 32 bytes each.
        """
        first = np.frombuffer(b"".join(digest[:8] for digest in digests), np.dtype("<u8"))
        low = np.searchsorted(self._first, first, side="left")
        high = np.minimum(np.searchsorted(self._first, first, side="right"), low + _MOST_SIZES)
        found = []
        for begin, end in zip(low.tolist(), high.tolist(), strict=True):
            sizes = self._sizes[begin:end].tolist()
            sure = self._sure[begin:end].tolist()
            claims = dict(zip(reversed(sizes), map(bool, reversed(sure)), strict=True))
            found.append(tuple(reversed(claims.items())))
        return found


@attrs.frozen(eq=False)
class Copies:
    """Good records for references, by position in the records; -1 = none.

    Attributes:
        direct: In a container of the id of the reference, under its LocalId.
        other: Anywhere else where a restore looks for it.
    """

    direct: Ints
    other: Ints

    @classmethod
    def of(cls, wanted: Rows, records: Rows, folder: int) -> "Copies":
        """Look for good records.

        A copy counts by its digest alone, in any generation of the container or in ``Hotspot``.
        References to stream maps may have the first half of the digest only (2.1, 3.1).

        Args:
            wanted: References (:data:`WANTED_DTYPE`).
            records: Records (:data:`RECORD_DTYPE`) of that folder, and of ``Hotspot``.
            folder: Folder of the references.
        """
        good = np.flatnonzero(records["state"] != BAD)
        words = digest_words(records[good])
        order = np.argsort(words[:, 0], kind="stable")
        good, words = good[order], words[order]
        theirs = digest_words(wanted)
        low = np.searchsorted(words[:, 0], theirs[:, 0], side="left")
        high = np.searchsorted(words[:, 0], theirs[:, 0], side="right")
        direct, other = np.full(len(wanted), -1, np.int64), np.full(len(wanted), -1, np.int64)
        for step in range(min(int((high - low).max(initial=0)), _MOST_COPIES)):
            rows = np.flatnonzero((low + step < high) & (direct < 0))
            at = low[rows] + step
            record, ref = records[good[at]], wanted[rows]
            fits = _same_digest(words[at], theirs[rows], folder) & _same_size(record, ref)
            home = (record["folder"] == folder) & (record["container"] == ref["container"])
            exact = fits & home & (record["local_id"] == ref["local_id"])
            direct[rows[exact]] = good[at[exact]]
            away = fits & ~exact & (home | (record["folder"] == HOTSPOT_FOLDER))
            away &= other[rows] < 0
            other[rows[away]] = good[at[away]]
        return cls(direct, other)

    @property
    def lost(self) -> Bools:
        """Which references have no good record at all."""
        return (self.direct < 0) & (self.other < 0)


def _same_digest(record: Words, ref: Words, folder: int) -> Bools:
    same: Bools = (record[:, :_HALF] == ref[:, :_HALF]).all(axis=1)
    rest: Bools = (record[:, _HALF:] == ref[:, _HALF:]).all(axis=1)
    if folder == STREAM_FOLDER:
        rest |= ~ref[:, _HALF:].any(axis=1)
    return same & rest


def _same_size(records: Rows, refs: Rows) -> Bools:
    same: Bools = (records["logical"] == 0) | (records["logical"] == refs["size"])
    same |= refs["sure"] == 0
    return same
