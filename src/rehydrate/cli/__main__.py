"""Where the command starts: each step loads no more than the line needs."""

import gc
import io
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

__all__ = ["COMPLETION", "VERSION", "answer", "main"]

VERSION = "0.1.0"
"""The version in ``pyproject.toml``; asking the installed metadata for it takes 70 ms."""

COMPLETION = "_REHYDRATE_COMPLETE"
"""Set by the shell when it asks for completions."""
_MANY = 50_000


def main() -> NoReturn:
    """Run the command of this process and end it.

    Taking the interpreter apart would cost 30 ms and more; by now everything is closed and synced.
    """
    code = answer(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the command itself has told of it
            stream.flush()
    os._exit(code)


def answer(words: list[str]) -> int:
    """Run one command line.

    Args:
        words: The words after the name of the program.

    Returns:
        The exit code.
    """
    if words == ["--version"]:
        print(f"rehydrate {VERSION}")
        return 0
    # What imports and plans make is no garbage; looking through it costs a tenth of a short run.
    gc.set_threshold(_MANY)
    for stream in (sys.stdout, sys.stderr):
        # A name that the encoding of the output cannot show is no reason to stop.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if COMPLETION not in os.environ:
        code = _directly(words)
        if code is not None:
            return code
    else:
        # Help texts are plain, so nobody needs to load rich to take its markup out of them.
        absent: Any = None
        sys.modules["rich"] = absent
    from rehydrate.cli.app import run

    return run(words)


def _directly(words: list[str]) -> int | None:
    """Run a correct command line without typer; ``None`` = typer must see it."""
    from rehydrate.cli.registry import COMMANDS, command

    if not words or words[0] not in COMMANDS or not {"-h", "--help"}.isdisjoint(words):
        return None
    from rehydrate.cli.direct import read
    from rehydrate.cli.guard import call

    function = command(words[0])
    values = read(function, words[1:])
    if values is None:
        return None
    return call(function, values)


if __name__ == "__main__":
    main()
