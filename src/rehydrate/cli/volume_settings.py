"""The policy that a deduplicated volume was optimized by, as its settings say it.

``System Volume Information/Dedup/Settings`` has XML files whose form Microsoft does not publish
(names and some properties are REPORTED only), so that nothing is taken for granted: every simple
value is shown under the name that it has there. The files are not needed to read a file.
"""

from collections.abc import Callable, Mapping
from typing import Final
from xml.parsers import expat

__all__ = ["policy_of"]

_LARGEST: Final = 1 << 20
_MOST: Final = 500
_LONGEST: Final = 400
_DEEPEST: Final = 64
_NAMES: Final = ("name", "key", "id", "property")
_VALUES: Final = ("value", "val", "data")
_SPACES: Final = "xmlns"


class _RefusedError(Exception):
    """The document is of a kind that is not read."""


def policy_of(settings: Mapping[str, bytes]) -> tuple[dict[str, str], list[str]]:
    """Return the values in the settings of a volume.

    Two copies of a file (``dedupConfig.01.xml``, ``dedupConfig.02.xml``) count as one: the first
    that can be read is taken.

    Args:
        settings: Content by name of file.

    Returns:
        Values by name, and what could not be read, one line each.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    taken: set[str] = set()
    for name in sorted(settings, key=str.lower):
        stem, _, ending = name.lower().rpartition(".")
        if ending != "xml" or stem.partition(".")[0] in taken:
            continue
        try:
            values = _values_in(settings[name])
        except (expat.ExpatError, _RefusedError, ValueError, LookupError) as error:
            problems.append(f"{name} cannot be read: {error}")
            continue
        taken.add(stem.partition(".")[0])
        for key, value in values.items():
            if len(found) < _MOST:
                found.setdefault(key, value)
    return found, problems


def _values_in(data: bytes) -> dict[str, str]:
    """Return the values of one document; documents that declare entities are refused."""
    if len(data) > _LARGEST:
        raise _RefusedError(f"{len(data)} bytes are too many")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.StartElementHandler = reader.start
    parser.CharacterDataHandler = reader.text
    parser.EndElementHandler = reader.end
    whole = True
    parser.Parse(data, whole)
    return reader.found


def _refuse(*_: object) -> None:
    raise _RefusedError("it has a document type, which settings have not")


class _Reader:
    """Collects values: of elements with a name and a value, of attributes, and of plain text."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._open: list[tuple[str, list[str]]] = []

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if len(self._open) == _DEEPEST:
            raise _RefusedError("its elements are nested too deeply")
        given = {
            _local(name): value
            for name, value in attributes.items()
            if not name.lower().startswith(_SPACES)
        }
        lower = {name.lower(): value for name, value in given.items()}
        name = _first(lower, _NAMES)
        value = _first(lower, _VALUES)
        if name and value is not None:
            self._put(name, value)
        elif not name:
            for key, text in given.items():
                self._put(f"{_local(tag)}.{key}", text)
        self._open.append((name or _local(tag), []))

    def text(self, text: str) -> None:
        if self._open:
            self._open[-1][1].append(text)

    def end(self, _tag: str) -> None:
        name, pieces = self._open.pop()
        text = "".join(pieces).strip()
        if text:
            self._put(name, text)

    def _put(self, name: str, value: str) -> None:
        """Keep a value; several of one name are a list."""
        before = self.found.get(name)
        if before is None and len(self.found) == _MOST:
            return
        whole = value if before is None or before == value else f"{before}, {value}"
        self.found[name] = whole if len(whole) <= _LONGEST else whole[:_LONGEST] + "…"


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _first(values: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    found: Callable[[str], bool] = values.__contains__
    return next((values[name] for name in names if found(name)), None)
