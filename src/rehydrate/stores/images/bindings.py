"""What all libyal bindings have in common: they may be missing, and their errors say little.

None of their objects may be used by two threads at once, and an image that is broken on purpose may
make them raise nearly anything.
"""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol

from rehydrate.errors import (
    CorruptMetadataError,
    FormatError,
    StoreError,
    StoreReadError,
    UnsupportedFormatError,
)
from rehydrate.stores.images.bytesource import FileView, check_range
from rehydrate.values import MAX_OFFSET

__all__ = ["ForeignOpen", "LibrarySource", "NeedsPackage", "ReadsAt"]

_FOREIGN: Final = (
    OSError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    MemoryError,
    RuntimeError,
    SystemError,
)
_PIECE: Final = 16 << 20
"""Bytes asked from a library at once: it allocates them all before it reads."""
_LONGEST_TEXT: Final = 300


class NeedsPackage:
    """Turns a failed import into an error that says what to install."""

    def __init__(self, package: str) -> None:
        """Name the package.

        Args:
            package: Its name in the package index.
        """
        self._package = package

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Replace an :class:`ImportError`.

        Raises:
            StoreError: With code ``"store.extra-missing"``.
        """
        if isinstance(error, ImportError):
            raise StoreError(
                f"this kind of image needs {self._package}: pip install 'rehydrate[windows]'",
                code="store.extra-missing",
            ) from error


def _first_part(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:_LONGEST_TEXT]


class ForeignOpen:
    """Turns what a library raises while it opens an image into one of our errors."""

    def __init__(self, name: str, layer: str, views: Sequence[FileView]) -> None:
        """Say what is opened.

        Args:
            name: The image, for the message.
            layer: Its layer.
            views: The file objects that the library reads; their own errors win.
        """
        self._name = name
        self._layer = layer
        self._views = views

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Replace foreign errors; ours pass.

        Raises:
            StoreReadError: The file could not be read.
            UnsupportedFormatError: The library says that it does not know the variant.
            CorruptMetadataError: Any other failure.
        """
        if isinstance(error, StoreError | FormatError) or not isinstance(error, _FOREIGN):
            return
        for view in self._views:
            if view.error is not None:
                raise view.error from error
        text = f"{self._name} cannot be opened as {self._layer}: {_first_part(error)}"
        if "unsupported" in str(error):
            raise UnsupportedFormatError(text, container=self._name) from error
        raise CorruptMetadataError(text, container=self._name) from error


class ReadsAt(Protocol):
    """The call by which every libyal object gives its bytes."""

    def read_buffer_at_offset(self, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes from ``offset`` on."""
        ...


class _Closes(Protocol):
    def close(self) -> None: ...


class LibrarySource:
    """The bytes that a libyal object gives, read by one thread at a time."""

    def __init__(
        self,
        handle: ReadsAt,
        size: int,
        *,
        name: str,
        views: Sequence[FileView] = (),
        closes: Sequence[_Closes] = (),
    ) -> None:
        """Take the handle over.

        Args:
            handle: An open libyal object.
            size: Number of bytes inside, as the image says.
            name: The image, for messages.
            views: The file objects that the library reads.
            closes: What to close, in this order, when the source is closed.

        Raises:
            CorruptMetadataError: ``size`` is no possible size.
        """
        if not 0 <= size <= MAX_OFFSET:
            raise CorruptMetadataError(f"{name} claims to hold {size} bytes", container=name)
        self._handle = handle
        self._size = size
        self._name = name
        self._views = views
        self._closes = tuple(closes)
        self._lock = threading.Lock()
        self._closed = False

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes; see :class:`~.bytesource.ByteSource`.

        Raises:
            StoreReadError: The range is outside, or the library failed, or gave too little.
        """
        check_range(self._name, self._size, offset, size)
        pieces: list[bytes] = []
        end = offset + size
        with self._lock:
            if self._closed:
                raise StoreReadError(f"{self._name} is closed", container=self._name)
            while offset < end:
                piece = self._piece(offset, min(end - offset, _PIECE))
                pieces.append(piece)
                offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, offset: int, size: int) -> bytes:
        try:
            piece = self._handle.read_buffer_at_offset(size, offset)
        except _FOREIGN as error:
            below = next((view.error for view in self._views if view.error is not None), None)
            for view in self._views:
                view.error = None
            raise StoreReadError(
                f"{self._name} cannot be read: {_first_part(error if below is None else below)}",
                container=self._name,
                offset=offset,
                length=size,
            ) from (error if below is None else below)
        if not 0 < len(piece) <= size:
            raise StoreReadError(
                f"{self._name} gave {len(piece)} bytes",
                container=self._name,
                offset=offset,
                length=size,
            )
        return piece

    def close(self) -> None:
        """Close the library's object and the files below."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for each in self._closes:
                _close_quietly(each)


def _close_quietly(each: _Closes) -> None:
    """Close; a library may refuse to close what it could not read, and nothing is lost by it."""
    try:
        each.close()
    except _FOREIGN:
        return
