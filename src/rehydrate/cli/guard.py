"""Around every command: errors become one line and an exit code, never a traceback."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from rehydrate.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, SOME_FAILED
from rehydrate.cli.output import document, hide_broken_pipe, shown, tell
from rehydrate.errors import RequestError, RestoreError

__all__ = ["call", "guarded"]

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):[/\\]+")


def call(function: Callable[..., int], values: Mapping[str, Any]) -> int:
    """Call a command as :func:`guarded` does; no path may be a URL.

    Args:
        function: The command.
        values: Its arguments.

    Returns:
        The exit code.
    """

    def work() -> int:
        for value in values.values():
            for path in value if isinstance(value, list) else [value]:
                if isinstance(path, Path):
                    _refuse_url(os.fspath(path))
        return function(**values)

    return guarded(work, as_json=bool(values.get("as_json")))


def _refuse_url(path: str) -> None:
    """Refuse a path that was typed as a URL: it would become a directory named ``s3:``."""
    if found := _URL.match(path):
        raise RequestError(
            f"{found[1]}://{path[found.end() :]} is a URL: only a directory or file of this machine"
            " can stand there",
            code="request.url",
        )


def guarded(work: Callable[[], int], *, as_json: bool) -> int:
    """Do the work of a command and report what ends it early.

    Args:
        work: Returns the exit code.
        as_json: Whether an error is printed as a document, too.

    Returns:
        The exit code.
    """
    try:
        code = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        tell("rehydrate: interrupted; run the same command again")
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
