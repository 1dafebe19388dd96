"""The commands by name; each is loaded when it is used or described."""

import io
import sys
from importlib import import_module
from typing import Annotated, Final

import typer

from rehydrate.cli.__main__ import VERSION

__all__ = ["application", "run"]

_COMMANDS: Final = (
    ("optimize", "optimize"),
    ("versions", "listing"),
    ("ls", "listing"),
    ("info", "info"),
    ("plan", "plan"),
    ("restore", "restore"),
    ("verify", "verify"),
    ("cat", "cat"),
    ("export-stubs", "export_stubs"),
    ("rebuild", "rebuild"),
    ("clean", "clean"),
)
_HELP: Final = """Put files into a deduplicated store and restore them from it.

\b
rehydrate optimize SOURCE STORE          back up; run again for the next version
rehydrate ls STORE                       what is in it
rehydrate plan STORE '*.raw'             what a restore would read; reads no data
rehydrate restore STORE '*.raw' -o OUT   bring it back; run again to go on

\b
Exit codes: 0 all good, 1 some files failed, 2 wrong use,
3 the store cannot be used, 130 interrupted (run the same command to go on).
"""
_CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - called by typer
    if wanted:
        print(f"rehydrate {VERSION}")
        raise typer.Exit


def _main(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Put files into a deduplicated store and restore them from it."""


def application(name: str | None = None) -> typer.Typer:
    """Build the command line.

    Args:
        name: The only command that is needed; ``None`` = all.
    """
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_CONTEXT,
    )
    app.callback(help=_HELP)(_main)
    for command, module in _COMMANDS:
        if name is None or command == name:
            home = import_module(f"rehydrate.cli.commands.{module}")
            app.command(command)(getattr(home, command.replace("-", "_")))
    return app


def run() -> int:
    """Run the command line of this process.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding cannot show is no reason to stop.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    names = [name for name, _ in _COMMANDS]
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    app = application(first if first in names else None)
    try:
        app(prog_name="rehydrate")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0
