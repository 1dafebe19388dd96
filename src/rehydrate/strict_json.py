"""JSON from outside, read strictly: no name twice, no number that is none, no field unknown.

Whoever reads a file of its own kind says what to raise: ``wrong`` makes the error out of the end of
a sentence, such as "is no JSON" or "has piece 3 without a usable 'start'", so that each message says
which file it is about.
"""

import json
from collections.abc import Callable
from typing import Final, NoReturn, TypeAlias

from rehydrate.values import MAX_OFFSET

__all__ = ["LONGEST_TEXT", "Fields", "Wrong", "load"]

Wrong: TypeAlias = Callable[[str], Exception]
Number: TypeAlias = Callable[[str], object]

LONGEST_TEXT: Final = 4096
"""Most letters of a text field, unless it is asked for otherwise."""


def load(
    text: str | bytes, wrong: Wrong, *, parse_int: Number = int, parse_float: Number = float
) -> object:
    """Read JSON.

    Args:
        text: What was found; its length is bounded by the caller.
        wrong: Makes the error.
        parse_int: Makes numbers without a fraction; a ValueError of it means "is no JSON".
        parse_float: Makes the other numbers; an ArithmeticError of it means the same.

    Raises:
        Exception: What ``wrong`` made: the text is no JSON or nested too deeply, an object names a
            field twice, or there is an infinity or "not a number".
    """

    def constant(name: str) -> NoReturn:
        raise wrong(f"has {name}, which is no number")

    def distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise wrong("names a field twice")
        return found

    try:
        return json.loads(
            text,
            parse_int=parse_int,
            parse_float=parse_float,
            parse_constant=constant,
            object_pairs_hook=distinct,
        )
    except json.JSONDecodeError as error:
        raise wrong(f"is no JSON (line {error.lineno}, column {error.colno})") from error
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise wrong("is no JSON") from error


class Fields:
    """The fields of one JSON object, each taken once.

    A field that is missing and has no default is as wrong as one of the wrong type; so is ``null``.

    Attributes:
        what: How messages call the object, such as ``"piece 3"``.
    """

    def __init__(self, found: object, what: str, wrong: Wrong) -> None:
        """Take an object.

        Args:
            found: What :func:`load` found.
            what: How messages call it.
            wrong: Makes the error.

        Raises:
            Exception: It is no object.
        """
        if not isinstance(found, dict):
            raise wrong(f"has {what} that is no object")
        self._left: dict[str, object] = dict(found)
        self._wrong = wrong
        self.what = what

    def has(self, name: str) -> bool:
        """Tell whether a field is there and was not taken yet."""
        return name in self._left

    def take(self, name: str, default: object = None) -> object:
        """Take a field as it is."""
        return self._left.pop(name, default)

    def text(
        self, name: str, *, least: int = 1, most: int = LONGEST_TEXT, default: str | None = None
    ) -> str:
        """Take a text that can be printed in one line.

        Args:
            name: Name of the field.
            least: Fewest letters.
            most: Most letters.
            default: What a missing field means; ``None`` = it must be there.
        """
        value = self.take(name, default)
        if not isinstance(value, str) or not least <= len(value) <= most or not value.isprintable():
            raise self.unusable(name)
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """Take ``true`` or ``false``.

        Args:
            name: Name of the field.
            default: What a missing field means.
        """
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise self.unusable(name)
        return value

    def number(
        self, name: str, *, least: int = 0, most: int = MAX_OFFSET, default: int | None = None
    ) -> int:
        """Take a whole number.

        Args:
            name: Name of the field.
            least: Smallest value.
            most: Largest value.
            default: What a missing field means; ``None`` = it must be there.
        """
        return self.whole(self.take(name, default), name, least, most)

    def whole(self, value: object, name: str, least: int, most: int) -> int:
        """Return a value if it is a whole number from ``least`` to ``most``.

        Args:
            value: The value, such as an item of a field.
            name: Name of the field.
            least: Smallest value.
            most: Largest value.
        """
        if type(value) is not int or not least <= value <= most:
            raise self.unusable(name)
        return value

    def items(self, name: str, default: list[object] | None = None) -> list[object]:
        """Take a list.

        Args:
            name: Name of the field.
            default: What a missing field means; ``None`` = it must be there.
        """
        value = self.take(name, default)
        if not isinstance(value, list):
            raise self.unusable(name)
        return value

    def done(self) -> None:
        """Refuse fields that nobody took."""
        if self._left:
            names = ", ".join(map(repr, sorted(self._left)))
            raise self._wrong(f"has {self.what} with unknown fields: {names}")

    def unusable(self, name: str) -> Exception:
        """Return the error of a field that is missing, of the wrong type or out of range."""
        return self._wrong(f"has {self.what} without a usable {name!r}")
