"""Closing descriptors through which nothing was written, or of which nothing more is wanted."""

from contextlib import suppress

from rehydrate.ports import Files

__all__ = ["close_quietly"]


def close_quietly(files: Files, *fds: int) -> None:
    """Close descriptors; what the close reports has no meaning.

    Args:
        files: The file-system calls.
        fds: Descriptors; -1 stands for none.
    """
    for fd in fds:
        if fd >= 0:
            with suppress(OSError):
                files.close(fd)
