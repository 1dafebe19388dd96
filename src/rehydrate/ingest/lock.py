"""The lock of a store: one writer at a time, and a message that names it."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from rehydrate.errors import StoreError, StoreLockedError
from rehydrate.ports import Files
from rehydrate.stores.layout import LOCK_NAME

__all__ = ["locked"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_LONGEST: Final = 4096


def _holder() -> bytes:
    try:
        boot = _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    found = {"host": socket.gethostname(), "boot": boot, "pid": os.getpid()}
    return json.dumps(found).encode() + b"\n"


def _describe(text: bytes) -> str:
    try:
        found = json.loads(text)
        return f"process {found['pid']} on host {found['host']} (boot {found['boot']})"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "another process"


@contextmanager
def locked(files: Files, root_fd: int, name: str) -> Iterator[None]:
    """Hold the lock of a store.

    Args:
        files: File-system calls.
        root_fd: Directory of the store.
        name: How to call the store in messages.

    Raises:
        StoreLockedError: Another process holds it.
        StoreError: The lock file cannot be made, or the file system has no locks.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        fd = files.open(os.fsencode(LOCK_NAME), flags, 0o644, dir_fd=root_fd)
    except OSError as error:
        raise StoreError(
            f"cannot write to {name}: {error.strerror}", code="store.unwritable"
        ) from error
    try:
        try:
            free = files.lock(fd)
        except OSError as error:
            raise StoreError(
                f"the file system of {name} has no locks ({error.strerror}); writing there is "
                "refused: put the store on one that has",
                code="store.no-locks",
            ) from error
        if not free:
            holder = _describe(files.pread(fd, _LONGEST, 0))
            raise StoreLockedError(
                f"{holder} is writing to {name}; wait for it to end", retryable=True
            )
        with suppress(OSError):  # a full disk costs the message, not the run
            files.ftruncate(fd, 0)
            files.pwrite(fd, _holder(), 0)
        yield
    finally:
        files.close(fd)
