"""Sidecars: files that hold the reparse data of the file beside them."""

import stat
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import attrs

from rehydrate.errors import ContainerNotFoundError, StoreReadError
from rehydrate.stores.host_tree import Folder, HostTree, inner_path
from rehydrate.values import DEDUP_TAG

__all__ = [
    "LARGEST_REPARSE_DATA",
    "REPARSE_HEAD",
    "SUFFIX",
    "SharedStub",
    "SharedStubs",
    "partner_of",
    "sidecar_tag",
    "sidecars_first",
]

SUFFIX: Final = b".reparse"
"""What the name of a sidecar ends with, in any case."""
REPARSE_HEAD: Final = struct.Struct("<IHH")
"""Head of a reparse buffer (MS-FSCC 2.1.2): tag, length of what follows, zero."""
LARGEST_REPARSE_DATA: Final = REPARSE_HEAD.size + 0xFFFF
"""Bytes of a reparse buffer whose length field is as large as can be."""


def partner_of(name: bytes) -> bytes:
    """Return the name of the file that a sidecar of this name would belong to; empty = none."""
    return name[: -len(SUFFIX)] if name.lower().endswith(SUFFIX) else b""


def sidecars_first(names: Sequence[bytes]) -> list[bytes]:
    """Sort names so that a sidecar spelt as documented comes before one in capital letters."""
    return sorted(names, key=lambda name: (not name.endswith(SUFFIX), name))


def sidecar_tag(head: bytes, size: int) -> int:
    """Return the tag in a sidecar; 0 = the file is none.

    Args:
        head: Its first 8 bytes, or more.
        size: Its size.
    """
    if len(head) < REPARSE_HEAD.size:
        return 0
    tag, length, reserved = REPARSE_HEAD.unpack_from(head)
    whole = length + REPARSE_HEAD.size == size and not reserved
    return int(tag) if tag == DEDUP_TAG or whole else 0


@attrs.frozen
class SharedStub:
    """The stub of a file with several names.

    Attributes:
        sidecar: Path of the first sidecar of any of the names.
        reparse_data: What is in it.
        clear: Whether the sidecars of all names are the same. If not, a tool has made one file of
            several stubs, as those do that look for equal content.
    """

    sidecar: bytes
    reparse_data: bytes
    clear: bool = True


class SharedStubs:
    """Knows the stubs of files with several names, of which perhaps one alone has a sidecar.

    The tree is searched once, when the first such file is met.
    """

    def __init__(self, tree: HostTree) -> None:
        """Search in ``tree``."""
        self._tree = tree
        self._lock = threading.Lock()
        self._known: dict[tuple[int, int], SharedStub] | None = None

    def find(self, device: int, inode: int) -> SharedStub | None:
        """Return the stub that a file is; ``None`` = it is none."""
        with self._lock:
            if self._known is None:
                self._known = self._search()
            return self._known.get((device, inode))

    def _search(self) -> dict[tuple[int, int], SharedStub]:
        known: dict[tuple[int, int], SharedStub] = {}
        pending = [b""]
        while pending:
            path = pending.pop()
            with (
                suppress(StoreReadError, ContainerNotFoundError),
                self._tree.folder(path) as folder,
            ):
                for name in folder.names():
                    status = folder.status(name)
                    full = inner_path(path, name)
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(full)
                    for file, stub in self._stubs(folder, full, partner_of(name)):
                        known[file] = _merged(known.get(file), stub)
        return known

    def _stubs(
        self, folder: Folder, path: bytes, partner: bytes
    ) -> Iterator[tuple[tuple[int, int], SharedStub]]:
        if not partner:
            return
        with suppress(OSError, StoreReadError):
            status = folder.status(partner)
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                found = self._tree.read_small(path, LARGEST_REPARSE_DATA)
                if sidecar_tag(found, len(found)):
                    yield (status.st_dev, status.st_ino), SharedStub(path, found)


def _merged(known: SharedStub | None, found: SharedStub) -> SharedStub:
    if known is None:
        return found
    same = known.clear and known.reparse_data == found.reparse_data
    return attrs.evolve(min(known, found, key=lambda stub: stub.sidecar), clear=same)
