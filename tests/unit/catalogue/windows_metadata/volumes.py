"""A volume of one entry, and structures of Windows made by hand."""

import struct
from typing import Any, cast

import attrs

from rehydrate.stores.volume import NamedStream, Volume, VolumeEntry

MODIFIED = 132_223_104_001_234_567
"""2020-01-01 00:00:00.1234567 UTC."""
CREATED = MODIFIED - 10_000_001
ACCESSED = MODIFIED + 20_000_003
CHANGED = MODIFIED + 30_000_005


@attrs.define
class OneEntry:
    """What :func:`rehydrate.catalogue.windows_metadata.keep` asks of a volume."""

    descriptor: bytes | Exception | None = None
    extended: bytes | Exception | None = None
    streams: dict[str, bytes | Exception] = attrs.field(factory=dict)

    def security(self, entry: VolumeEntry) -> bytes | None:
        if isinstance(self.descriptor, Exception):
            raise self.descriptor
        return self.descriptor

    def extended_attributes(self, entry: VolumeEntry) -> bytes | None:
        if isinstance(self.extended, Exception):
            raise self.extended
        return self.extended

    def read(self, entry: VolumeEntry, offset: int, size: int, stream: str = "") -> bytes:
        content = self.streams[stream]
        if isinstance(content, Exception):
            raise content
        return content[offset : offset + size]


def volume(
    *,
    descriptor: bytes | Exception | None = None,
    extended: bytes | Exception | None = None,
    streams: dict[str, bytes | Exception] | None = None,
) -> Volume:
    return cast("Volume", OneEntry(descriptor, extended, streams or {}))


def entry(name: bytes = b"dir/file.txt", **fields: Any) -> VolumeEntry:
    plain: dict[str, Any] = {"path": name, "number": 1, "directory": False, "size": 5}
    return VolumeEntry(**(plain | fields))


def named(**sizes: int) -> tuple[NamedStream, ...]:
    return tuple(NamedStream(name, size) for name, size in sizes.items())


def sid(authority: int, *numbers: int) -> bytes:
    head = struct.pack("<BB", 1, len(numbers)) + authority.to_bytes(6, "big")
    return head + struct.pack(f"<{len(numbers)}I", *numbers)


USER = sid(5, 21, 1111, 2222, 3333, 1044)
GROUP = sid(5, 21, 1111, 2222, 3333, 513)
EVERYONE = sid(1, 0)
USER_TEXT = "S-1-5-21-1111-2222-3333-1044"
GROUP_TEXT = "S-1-5-21-1111-2222-3333-513"


def ace(kind: int, flags: int, mask: int, who: bytes, rest: bytes = b"") -> bytes:
    body = struct.pack("<I", mask) + who + rest
    return struct.pack("<BBH", kind, flags, 4 + len(body)) + body


def acl(*aces: bytes, revision: int = 2, room: int = 0) -> bytes:
    body = b"".join(aces) + bytes(room)
    return struct.pack("<BBHHH", revision, 0, 8 + len(body), len(aces), 0) + body


ALLOW = acl(ace(0, 0x13, 0x1200A9, USER), ace(1, 0x03, 0x1F01FF, EVERYONE))


def descriptor(
    owner: bytes | None = USER,
    group: bytes | None = GROUP,
    *,
    dacl: bytes | None = ALLOW,
    sacl: bytes | None = None,
    control: int = 0,
) -> bytes:
    """Pack a descriptor; ``control`` is added to what the parts need."""
    body = b""
    offsets = []
    for part in (owner, group, sacl, dacl):
        offsets.append(20 + len(body) if part is not None else 0)
        body += part or b""
    control |= 0x8000 | (4 if dacl is not None else 0) | (0x10 if sacl is not None else 0)
    return struct.pack("<BBH4I", 1, 0, control, *offsets) + body


def full_ea(name: bytes, value: bytes, flags: int = 0, *, last: bool = False) -> bytes:
    body = struct.pack("<BBH", flags, len(name), len(value)) + name + b"\0" + value
    padded = body + bytes(-len(body) % 4)
    return struct.pack("<I", 0) + body if last else struct.pack("<I", 4 + len(padded)) + padded
