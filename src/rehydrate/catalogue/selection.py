"""Choosing entries of a version by paths and patterns.

One rule for all patterns, those that exclude included: they are matched against the whole path from
the root of the version, component by component. ``*``, ``?`` and ``[...]`` stay inside a component,
``**`` stands for any number of components. What a pattern matches comes with everything below it.
A path that is there exactly as written is matched too, whatever characters it holds.

Where a volume tells names apart without regard to case, paths and patterns are folded before they
are compared. A range such as ``[a-z]`` is then one of folded characters.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self, TypeAlias

import attrs
import numpy as np

from rehydrate.catalogue.casing import decode_name
from rehydrate.chunks import Bools, Ints
from rehydrate.errors import RequestError
from rehydrate.formats.native.catalogue import tree_key

__all__ = ["Chosen", "Fold", "Selection", "split_list"]

Fold: TypeAlias = Callable[[str], str]
"""Makes names equal that are one name; see :meth:`~rehydrate.catalogue.casing.Casing.fold`."""

_MAGIC: Final = re.compile(r"[*?\[]")


@attrs.frozen(eq=False)
class Chosen:
    """What a selection takes of a list of paths.

    Attributes:
        indexes: Positions of the chosen paths, ascending.
        unmatched: Patterns and paths that match nothing, as they were given.
    """

    indexes: Ints
    unmatched: tuple[str, ...]


@attrs.frozen
class _Pattern:
    """One pattern.

    Attributes:
        text: As it was given.
        path: As a path, folded, without slashes around it.
        prefix: The leading components without wildcards, as they were given: where to look.
        top: The same, folded.
        regex: What matches folded paths, or ``None`` for a plain path.
    """

    text: str
    path: bytes
    prefix: bytes
    top: bytes
    regex: re.Pattern[str] | None


@attrs.frozen
class Selection:
    """A compiled choice; :meth:`of` makes one."""

    _wanted: tuple[_Pattern, ...]
    _excluded: tuple[_Pattern, ...]
    _fold: Fold | None = None

    @classmethod
    def of(
        cls,
        patterns: Iterable[str | bytes] = (),
        *,
        excludes: Iterable[str | bytes] = (),
        paths: Iterable[bytes] = (),
        fold: Fold | None = None,
    ) -> Self:
        """Compile a choice.

        Args:
            patterns: What to take; if nothing is given here or in ``paths``, everything.
            excludes: What to leave out of it.
            paths: Exact paths to take, without wildcards, as ``--files-from`` lists them.
            fold: How the volume compares names; ``None`` = byte by byte.

        Raises:
            RequestError: A pattern is empty or leads outside.
        """
        wanted = [_compile(_text(pattern), fold, plain=False) for pattern in patterns]
        wanted += [_compile(_text(path), fold, plain=True) for path in paths]
        return cls(
            tuple(wanted),
            tuple(_compile(_text(pattern), fold, plain=False) for pattern in excludes),
            fold,
        )

    @property
    def prefixes(self) -> list[bytes]:
        """Where chosen entries can be, for :meth:`Catalogue.entries`; empty = everywhere."""
        found = [pattern.prefix for pattern in self._wanted]
        return [] if b"" in found else found

    def choose(self, paths: Sequence[bytes]) -> Chosen:
        """Choose among paths.

        Args:
            paths: In tree order, as a catalogue gives them.

        Returns:
            The chosen ones, and the patterns that match none of ``paths``.
        """
        view = _View.of(paths, self._fold)
        taken: Bools = np.full(len(paths), not self._wanted)
        unmatched = [
            pattern.text for pattern in self._wanted if not _mark(pattern, view, taken, value=True)
        ]
        for pattern in self._excluded:
            _mark(pattern, view, taken, value=False)
        return Chosen(view.indexes(taken), tuple(unmatched))


@attrs.frozen(eq=False)
class _View:
    """Paths in the order in which they are looked for.

    Attributes:
        text: Returns the path of a row as text.
        keys: Key of each row, ascending.
        order: Position of each row in the paths; ``None`` = its number.
    """

    text: Callable[[int], str]
    keys: list[bytes]
    order: Ints | None

    @classmethod
    def of(cls, paths: Sequence[bytes], fold: Fold | None) -> Self:
        """Look at paths."""
        if fold is None:
            keys = [tree_key(path) for path in paths]
            return cls(lambda row: paths[row].decode("utf-8", "surrogateescape"), keys, None)
        texts = [fold(decode_name(path)) for path in paths]
        keys = [tree_key(text.encode("utf-8", "surrogatepass")) for text in texts]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        return cls(
            lambda row: texts[order[row]],
            [keys[index] for index in order],
            np.array(order, np.int64),
        )

    def indexes(self, taken: Bools) -> Ints:
        """Return the positions of rows, ascending."""
        rows: Ints = np.flatnonzero(taken)
        return rows if self.order is None else np.sort(self.order[rows])


def split_list(data: bytes) -> list[bytes]:
    """Split the content of a ``--files-from`` file.

    Args:
        data: Paths, one a line; if there is a zero byte, separated by zero bytes instead.
    """
    separator = b"\0" if b"\0" in data else b"\n"
    lines = (
        line.removesuffix(b"\r") if separator == b"\n" else line for line in data.split(separator)
    )
    return [line for line in lines if line]


def _mark(pattern: _Pattern, view: _View, taken: Bools, *, value: bool) -> bool:
    """Set ``taken`` to ``value`` where the pattern matches; tell whether it does anywhere."""
    start, stop = _below(view.keys, pattern.path)
    taken[start:stop] = value
    found = stop > start
    if pattern.regex is None:
        return found
    start, stop = _below(view.keys, pattern.top) if pattern.top else (0, len(view.keys))
    match = pattern.regex.fullmatch
    hits = [row for row in range(start, stop) if match(view.text(row))]
    taken[hits] = value
    return found or bool(hits)


def _below(keys: list[bytes], path: bytes) -> tuple[int, int]:
    key = tree_key(path)
    return bisect_left(keys, key), bisect_left(keys, key + b"\1")


def _text(pattern: str | bytes) -> str:
    return pattern if isinstance(pattern, str) else pattern.decode("utf-8", "surrogateescape")


def _compile(text: str, fold: Fold | None, *, plain: bool) -> _Pattern:
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not text or "\0" in text:
        raise RequestError(f"{text!r} is no path")
    if ".." in parts:
        raise RequestError(f"{text!r} leads outside: paths begin at the root of the version")
    if not parts:  # "/" or ".": everything
        return _Pattern(text, b"", b"", b"", re.compile("(?s:.*)"))
    magic = [number for number, part in enumerate(parts) if _MAGIC.search(part)]
    plain = plain or not magic
    prefix = _encode("/".join(parts if plain else parts[: magic[0]]))
    path = _encode("/".join(parts))
    if fold is None:
        regex = None if plain else re.compile(_regex(parts))
        return _Pattern(text, path, prefix, prefix, regex)
    parts = fold(decode_name(path)).split("/")
    regex = None if plain else re.compile(_regex(parts))
    return _Pattern(text, _folded(path, fold), prefix, _folded(prefix, fold), regex)


def _folded(path: bytes, fold: Fold) -> bytes:
    return fold(decode_name(path)).encode("utf-8", "surrogatepass")


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise RequestError(f"{text!r} is no path") from error


def _regex(parts: Sequence[str]) -> str:
    pieces = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            pieces.append(".+" if last else "(?:[^/]+/)*")
        else:
            pieces.append(_component(part) + ("" if last else "/"))
    return f"(?s:{''.join(pieces)}(?:/.*)?)"


def _component(part: str) -> str:
    pieces: list[str] = []
    position = 0
    while position < len(part):
        char = part[position]
        position += 1
        if char == "*":
            if pieces[-1:] != ["[^/]*"]:  # two in a row match the same, and much more slowly
                pieces.append("[^/]*")
        elif char == "?":
            pieces.append("[^/]")
        elif char == "[":
            piece, position = _class(part, position)
            pieces.append(piece)
        else:
            pieces.append(re.escape(char))
    return "".join(pieces)


def _class(part: str, start: int) -> tuple[str, int]:
    """Translate ``[...]`` that begins before ``start``; without an end it is a plain bracket."""
    first = start + 1 if part[start : start + 1] in ("!", "^") else start
    end = part.find("]", first + 1)
    if end < 0:
        return re.escape("["), start
    content = part[first:end]
    singles, position = [], 0
    while position < len(content):
        if content[position + 1 : position + 2] == "-" and position + 2 < len(content):
            low, high = content[position], content[position + 2]
            if low <= high:
                singles.append(f"{re.escape(low)}-{re.escape(high)}")
            position += 3
        else:
            singles.append(re.escape(content[position]))
            position += 1
    if first > start:
        return f"[^/{''.join(singles)}]", end + 1
    return (f"(?!/)[{''.join(singles)}]" if singles else "(?!)"), end + 1
