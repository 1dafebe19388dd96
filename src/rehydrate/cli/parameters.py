"""The arguments and options that several commands share, with their help."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from rehydrate.cli.sizes import parse_size

__all__ = [
    "AsJson",
    "Exclude",
    "FilesFrom",
    "Jobs",
    "Memory",
    "Null",
    "Patterns",
    "Store",
    "Version",
    "size_option",
]

LEAST_MEMORY = 16 << 20


def size_option(text: str) -> int:
    """Read the value of an option that is a size.

    Args:
        text: What was typed, or the default.

    Raises:
        typer.BadParameter: It is no size.
    """
    try:
        return parse_size(str(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _memory(text: str) -> int:
    found = size_option(text)
    if found < LEAST_MEMORY:
        raise typer.BadParameter(f"{text} is less than 16M, the least that works")
    return found


Store: TypeAlias = Annotated[
    Path, typer.Argument(metavar="STORE", help="Directory of the store.", show_default=False)
]
Patterns: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATTERN",
        help="Paths or patterns; all that lies below comes along. None = everything."
        " * ? [] stay between slashes, ** does not; a pattern without a slash fits at any depth.",
        show_default=False,
    ),
]
FilesFrom: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--files-from",
        metavar="FILE",
        help="Also take these paths, one a line, each with all that lies below; - = standard input.",
        show_default=False,
    ),
]
Null: TypeAlias = Annotated[
    bool, typer.Option("-0", "--null", help="Paths of --files-from end with a zero byte.")
]
Exclude: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude", metavar="PATTERN", help="Leave these out; may be repeated.", show_default=False
    ),
]
Version: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--version", metavar="N", help="Number of the version; the newest one otherwise.",
        show_default=False, min=1,
    ),
]  # fmt: skip
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document for programs.")
]
Jobs: TypeAlias = Annotated[
    int,
    typer.Option("--jobs", "-j", metavar="N", min=0, help="Worker threads; 0 = one a processor."),
]
Memory: TypeAlias = Annotated[
    int,
    typer.Option(
        "--memory",
        metavar="SIZE",
        parser=_memory,
        show_default="256M",
        help="Budget for buffers and the plan.",
    ),
]
