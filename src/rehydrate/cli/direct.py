"""Reads a correct command line without loading typer; of any other it understands nothing.

Typer and what it loads cost more than 100 ms, which is more than many restores take. So the usual
case is read here, by rules that are a part of typer's: for every line that :func:`read` takes, typer
gives the same values (a test holds them together). It returns ``None`` whenever there is anything
unusual, and typer then decides.
"""

from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from rehydrate.cli.declare import Argument, Option

__all__ = ["read"]

_MOST_DIGITS: Final = 18


class _UnusualError(Exception):
    """The line is left to typer."""


def read(function: Callable[..., int], words: list[str]) -> dict[str, Any] | None:
    """Read the words after the name of a command.

    Args:
        function: The command.
        words: The words.

    Returns:
        Keyword arguments for the function; ``None`` if typer has to look at it.
    """
    try:
        return _Line(function).read(words)
    except _UnusualError:
        return None


class _Line:
    def __init__(self, function: Callable[..., int]) -> None:
        self._arguments: list[tuple[str, Any]] = []
        self._options: dict[str, tuple[str, Any, Option]] = {}
        for name, annotation in function.__annotations__.items():
            if name == "return":
                continue
            kind, declared = _plain(annotation.__origin__), annotation.__metadata__[0]
            if isinstance(declared, Argument):
                self._arguments.append((name, kind))
            else:
                for word in declared.names:
                    self._options[word] = (name, kind, declared)
        self._defaults = {**(function.__kwdefaults__ or {})}
        given = function.__defaults__ or ()
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        self._defaults.update(zip(names[len(names) - len(given) :], given, strict=True))
        self._values: dict[str, Any] = {}

    def read(self, words: list[str]) -> dict[str, Any]:
        positional: list[str] = []
        rest = iter(words)
        for word in rest:
            if word == "--":
                positional += rest
            elif word == "-" or not word.startswith("-"):
                positional.append(word)
            else:
                self._option(word, rest)
        self._positional(positional)
        for name in [*(name for name, _ in self._arguments), *self._names()]:
            if name not in self._values:
                if name not in self._defaults:
                    raise _UnusualError
                self._values[name] = self._defaults[name]
        return self._values

    def _names(self) -> list[str]:
        return [name for name, _, _ in self._options.values()]

    def _option(self, word: str, rest: Any) -> None:
        word, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if word not in self._options:
            raise _UnusualError
        name, kind, option = self._options[word]
        if kind is bool:
            if equals:
                raise _UnusualError
            self._values[name] = True
            return
        if not equals:
            value = next(rest, "")
            if value.startswith("-") and value != "-":
                raise _UnusualError
        if get_origin(kind) is list:
            self._values.setdefault(name, []).append(_value(value, get_args(kind)[0], option))
        else:
            self._values[name] = _value(value, kind, option)

    def _positional(self, words: list[str]) -> None:
        for name, kind in self._arguments:
            if get_origin(kind) is list:
                if words:
                    self._values[name] = [_value(word, get_args(kind)[0], None) for word in words]
                return
            if not words:
                return
            self._values[name] = _value(words.pop(0), kind, None)
        if words:
            raise _UnusualError


def _plain(kind: Any) -> Any:
    """Return a type without ``None``."""
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    return kind


def _value(word: str, kind: Any, option: Option | None) -> Any:
    if not word:
        raise _UnusualError
    if option is not None and option.convert is not None:
        try:
            return option.convert(word)
        except ValueError:
            raise _UnusualError from None
    if kind is str:
        return word
    if kind is Path:
        return Path(word)
    if get_origin(kind) is Literal and word in get_args(kind):
        return word
    if kind is int and word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS:
        number = int(word)
        if option is None or option.least is None or number >= option.least:
            return number
    raise _UnusualError
