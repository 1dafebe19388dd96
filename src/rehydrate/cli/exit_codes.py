"""What the exit codes of the command mean."""

from typing import Final

__all__ = ["BROKEN_PIPE", "INTERRUPTED", "OK", "SOME_FAILED", "STORE_UNUSABLE", "USAGE"]

OK: Final = 0
"""Everything was done."""
SOME_FAILED: Final = 1
"""Some files failed, or damage was found; everything else was done."""
USAGE: Final = 2
"""The command line or a request contradicts itself or names what does not exist."""
STORE_UNUSABLE: Final = 3
"""The store cannot be used at all."""
INTERRUPTED: Final = 130
"""Stopped by a signal; the same command goes on from there."""
BROKEN_PIPE: Final = 141
"""Whoever read our output went away; as the shell reports SIGPIPE."""
