"""Around every command: errors become one line and an exit code, never a traceback."""

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

from rehydrate.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, SOME_FAILED
from rehydrate.cli.output import document, hide_broken_pipe, shown, tell
from rehydrate.errors import RestoreError

__all__ = ["guarded"]

P = ParamSpec("P")


def guarded(command: Callable[P, int]) -> Callable[P, None]:
    """Turn a function that returns an exit code into a command.

    Args:
        command: Does the work; a keyword argument ``as_json`` says what to print.

    Returns:
        The same with its errors reported; it ends by ``typer.Exit``.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        work = functools.partial(command, *args, **kwargs)
        raise typer.Exit(_reported(work, as_json=bool(kwargs.get("as_json"))))

    return run


def _reported(work: Callable[[], int], *, as_json: bool) -> int:
    try:
        code = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        tell("\nrehydrate: interrupted; run the same command again")
        return INTERRUPTED
    except BrokenPipeError:
        hide_broken_pipe()
        return BROKEN_PIPE
    except RestoreError as error:
        return _explained(error, as_json=as_json)
    except OSError as error:
        name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        tell(f"rehydrate: {shown(name + (error.strerror or str(error)))}")
        return SOME_FAILED
    except MemoryError:
        tell("rehydrate: not enough memory; give a smaller --memory or restore less at a time")
        return SOME_FAILED
    return code


def _explained(error: RestoreError, *, as_json: bool) -> int:
    from rehydrate.cli.failures import exit_code_of, line_of, record_of

    tell(f"rehydrate: {line_of(error)}")
    code = exit_code_of(error)
    if as_json:
        document("error", {"exit_code": code, "error": record_of(error)})
    return code
