"""Collects what a form keeps of an entry and what it loses, within the limits of a target."""

from typing import Final

import attrs

from rehydrate.catalogue.windows_metadata.attributes import attribute_names
from rehydrate.errors import FormatError, StoreError
from rehydrate.requests import FileMetadata
from rehydrate.staging.metadata import MAX_XATTR_BYTES, MAX_XATTRS
from rehydrate.stores.volume import NamedStream, Volume, VolumeEntry

__all__ = ["MAX_VALUE", "Carried", "Kept", "printable"]

MAX_VALUE: Final = 65536
"""Most bytes in the value of an extended attribute (Linux, XATTR_SIZE_MAX)."""
_MAX_NAME: Final = 255
"""Most bytes in its name (XATTR_NAME_MAX)."""
_MAX_STRUCTURE: Final = 1 << 20
"""Largest descriptor or list of extended attributes; NTFS has at most a fifth of it."""
_MAX_REASON: Final = 160
"""Characters of a reason that are told."""


@attrs.frozen
class Kept:
    """What of an entry's metadata goes where.

    Attributes:
        metadata: What to put on the restored file; without owners.
        lost: What the entry has and the form cannot carry: ``acl``, ``owner``, ``attributes``,
            ``ea``, ``stream:NAME``, ``creation time``; some with the reason in brackets.
        sidecars: Files to write beside the entry: what is added to its name, and the content.
    """

    metadata: FileMetadata
    lost: tuple[str, ...]
    sidecars: tuple[tuple[bytes, bytes], ...]


def printable(text: str) -> str:
    r"""Return text of others for a message: what cannot be printed is escaped as in ``\ud800``.

    Args:
        text: Any text, unpaired surrogates included.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


class Carried:
    """Collects while a form works on one entry; reads what the entry has.

    Attributes:
        entry: The entry.
        xattrs: Extended attributes by name, in the order in which they have to be set.
        sidecars: Files beside the entry.
    """

    def __init__(self, volume: Volume, entry: VolumeEntry) -> None:
        """Start with nothing.

        Args:
            volume: Where the entry lies.
            entry: The entry.
        """
        self.entry = entry
        self.xattrs: dict[bytes, bytes] = {}
        self.sidecars: list[tuple[bytes, bytes]] = []
        self._volume = volume
        self._lost: dict[str, str] = {}
        self._bytes = 0

    @property
    def lost(self) -> tuple[str, ...]:
        """What was lost, first loss first; a reason stands in brackets."""
        return tuple(
            f"{name} ({reason})" if reason else name for name, reason in self._lost.items()
        )

    def lose(self, name: str, reason: str = "") -> None:
        """List something as lost; the first reason counts.

        Args:
            name: What it is.
            reason: Why, if the form does not say it by itself.
        """
        text = printable(" ".join(reason.split()))
        self._lost.setdefault(printable(name), text[:_MAX_REASON])

    def lose_attributes(self, bits: int) -> None:
        """List attributes as lost, if there are any.

        Args:
            bits: The ones that cannot be carried.
        """
        if bits:
            self.lose("attributes", ", ".join(attribute_names(bits)))

    def put(self, what: str, name: bytes, value: bytes) -> None:
        """Keep an extended attribute, or list it as lost where a target could not hold it.

        Args:
            what: What it carries, as :meth:`lose` names it.
            name: Name of the extended attribute.
            value: Its value.
        """
        size = len(name) + len(value)
        if name in self.xattrs:
            self.lose(what, "its name is taken")
        elif len(name) > _MAX_NAME:
            self.lose(what, "the name is too long")
        elif len(value) > MAX_VALUE:
            self.lose(what, f"larger than {MAX_VALUE} bytes")
        elif len(self.xattrs) >= MAX_XATTRS or self._bytes + size > MAX_XATTR_BYTES:
            self.lose(what, "too many extended attributes")
        else:
            self.xattrs[name] = value
            self._bytes += size

    def security(self) -> bytes | None:
        """Return the security descriptor; one that cannot be read is lost."""
        try:
            return self._bounded("acl", self._volume.security(self.entry))
        except (StoreError, FormatError) as error:
            self.lose("acl", error.message)
            return None

    def extended_attributes(self) -> bytes | None:
        """Return the list of extended attributes; one that cannot be read is lost."""
        try:
            return self._bounded("ea", self._volume.extended_attributes(self.entry)) or None
        except (StoreError, FormatError) as error:
            self.lose("ea", error.message)
            return None

    def stream(self, stream: NamedStream, limit: int) -> bytes | None:
        """Return the content of a stream; one that is too large or cannot be read is lost.

        Args:
            stream: One of the entry's.
            limit: Most bytes.
        """
        if stream.size > limit:
            self.lose(f"stream:{stream.name}", f"larger than {limit} bytes")
            return None
        try:
            data = self._volume.read(self.entry, 0, stream.size, stream.name)
        except (StoreError, FormatError) as error:
            self.lose(f"stream:{stream.name}", error.message)
            return None
        if len(data) != stream.size:
            self.lose(f"stream:{stream.name}", "ends early")
            return None
        return data

    def _bounded(self, what: str, data: bytes | None) -> bytes | None:
        if data is not None and len(data) > _MAX_STRUCTURE:
            self.lose(what, f"larger than {_MAX_STRUCTURE} bytes")
            return None
        return data
