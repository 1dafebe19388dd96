"""Around every command: errors become one line and an exit code, never a traceback."""

import os
import sys
from collections.abc import Callable

from rehydrate.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, SOME_FAILED
from rehydrate.cli.output import document, hide_broken_pipe, shown, tell
from rehydrate.errors import RestoreError

__all__ = ["guarded"]


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
