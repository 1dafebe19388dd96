"""Declarations of arguments and options, light enough to be loaded on every run.

A command is a plain function. Its parameters are annotated with these; :mod:`rehydrate.cli.direct`
reads correct command lines from them, and :mod:`rehydrate.cli.app` hands them to typer, which
explains, completes, and says what is wrong with the others.
"""

from collections.abc import Callable

__all__ = ["Argument", "Option"]


class Argument:
    """A positional argument; the last one of a command may take many words."""

    __slots__ = ("metavar", "text")

    def __init__(self, metavar: str, text: str) -> None:
        """Keep what is shown.

        Args:
            metavar: Its name in the usage line.
            text: One or two sentences of help.
        """
        self.metavar = metavar
        self.text = text


class Option:
    """An option; a parameter of type bool makes it a flag, a list makes it repeatable."""

    __slots__ = ("convert", "default", "least", "metavar", "names", "text")

    def __init__(
        self,
        *names: str,
        text: str,
        metavar: str | None = None,
        convert: Callable[[str], int | str] | None = None,
        least: int | None = None,
        default: str | bool = True,
    ) -> None:
        """Keep what is shown and how the word is read.

        Args:
            *names: Such as ``--jobs`` and ``-j``.
            text: One or two sentences of help.
            metavar: Name of the value.
            convert: Reads the word; raises ``ValueError`` with a message for people.
            least: Smallest number.
            default: How the default is shown; False = not at all.
        """
        self.names = names
        self.text = text
        self.metavar = metavar
        self.convert = convert
        self.least = least
        self.default = default
