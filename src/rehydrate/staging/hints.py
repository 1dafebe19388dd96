"""Hints beside staged files: which ranges were written; never proof of what is in them.

A hint is written without a sync and has its own checksum. It only saves a later run from looking
at bytes that were never written: whatever it names is hashed before it counts, and without a hint
everything that is there is looked at.
"""

import os
import struct
import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from rehydrate.ports import Files
from rehydrate.staging.descriptors import close_quietly
from rehydrate.staging.workspace import NO_FOLLOW

__all__ = ["SUFFIX", "data_ranges", "merged", "read_hint", "write_hint"]

SUFFIX: Final = b".hint"

_MAGIC: Final = b"RHH1"
_HEAD: Final = struct.Struct("<4s32sQQQI")  # magic, name (plan of the file), device, inode, size, n
_RANGE: Final = struct.Struct("<QQ")
_CHECK: Final = struct.Struct("<I")
_MAX_BYTES: Final = 64 << 20


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return half-open ranges sorted, with those that touch or overlap made one.

    Args:
        ranges: Pairs ``(begin, end)``.
    """
    result: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return result


def write_hint(
    files: Files, dir_fd: int, name: bytes, fd: int, ranges: Iterable[tuple[int, int]]
) -> None:
    """Write the hint of a staged file; a failure is no fault, there is just no hint then.

    Args:
        files: The file-system calls.
        dir_fd: Descriptor of the workspace.
        name: Name of the staged file, 32 bytes.
        fd: Its descriptor.
        ranges: Pairs ``(begin, end)``, in any order.
    """
    pieces = merged(ranges)
    with suppress(OSError):
        found = files.fstat(fd)
        head = _HEAD.pack(
            _MAGIC, name, found.st_dev, found.st_ino, found.st_size, len(pieces)
        )  # fmt: skip
        body = head + b"".join(_RANGE.pack(begin, end) for begin, end in pieces)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_FOLLOW
        hint = files.open(name + SUFFIX, flags, 0o600, dir_fd=dir_fd)
        try:
            files.pwrite(hint, body + _CHECK.pack(zlib.crc32(body)), 0)
        finally:
            close_quietly(files, hint)


def read_hint(
    files: Files, dir_fd: int, name: bytes, found: os.stat_result
) -> list[tuple[int, int]] | None:
    """Read the hint of a staged file.

    Args:
        files: The file-system calls.
        dir_fd: Descriptor of the workspace.
        name: Name of the staged file, 32 bytes.
        found: Status of the staged file.

    Returns:
        Merged pairs ``(begin, end)`` inside the file; ``None`` if there is no hint that fits.
    """
    try:
        hint = files.open(name + SUFFIX, os.O_RDONLY | NO_FOLLOW, dir_fd=dir_fd)
        try:
            raw = files.pread(hint, min(files.fstat(hint).st_size, _MAX_BYTES), 0)
        finally:
            close_quietly(files, hint)
    except OSError:
        return None
    body, check = raw[: -_CHECK.size], raw[-_CHECK.size :]
    if len(body) < _HEAD.size or _CHECK.pack(zlib.crc32(body)) != check:
        return None
    *identity, count = _HEAD.unpack_from(body)
    if identity != [_MAGIC, name, found.st_dev, found.st_ino, found.st_size]:
        return None
    if len(body) - _HEAD.size != count * _RANGE.size:
        return None
    ranges = merged(_RANGE.iter_unpack(body[_HEAD.size :]))
    if any(begin >= end or end > found.st_size for begin, end in ranges):
        return None
    return ranges


def data_ranges(files: Files, fd: int, size: int) -> list[tuple[int, int]]:
    """Return the ranges of a file that the file system holds data for.

    Args:
        files: The file-system calls.
        fd: The file.
        size: Its size in bytes.

    Returns:
        Pairs ``(begin, end)``; a file system that cannot tell holds data everywhere.

    Raises:
        OSError: The file cannot be looked at.
    """
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        begin = files.seek_data(fd, at)
        if begin is None:
            break
        at = min(size, max(begin + 1, files.seek_hole(fd, begin)))
        found.append((begin, at))
    return found
