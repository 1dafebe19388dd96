"""One call for all codecs: the fastest decoder that is there, or else the reference.

The caller checks the digest of every chunk, so the word of a fast decoder is taken where its
output has the right length. Where it refuses, the reference decoder has the last word: libfwnt, for
one, knows no match longer than 32,771 bytes, which every chunk of zeros has. A fast decoder may
also accept what the reference refuses, or (nobody has seen it) get a chunk wrong;
:func:`decompress_strictly` is for a second opinion when a digest differs.
"""

import ctypes
import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from rehydrate.errors import LimitError, UnsupportedFormatError
from rehydrate.formats.windows.codec import huffman, lznt1, xpress
from rehydrate.formats.windows.codec.matches import damaged
from rehydrate.values import ReadableBuffer

__all__ = [
    "LZNT1",
    "NONE",
    "XPRESS",
    "XPRESS_HUFFMAN",
    "decompress",
    "decompress_strictly",
    "fast_path",
]

NONE: Final = 0
"""Compression field of a plain chunk, CONFIRMED-R."""
LZNT1: Final = 1
"""REPORTED (M) only."""
XPRESS: Final = 2
"""CONFIRMED-R."""
XPRESS_HUFFMAN: Final = 3
"""REPORTED (M) only."""

MAX_SIZE: Final = 2**31 - 1
"""Largest size that every decoder can be asked for."""

SPARSE: Final = 256
"""Above this ratio there are only a few long matches, which the reference copies faster."""

REFUSALS: Final = (OSError, ValueError, MemoryError, RuntimeError)
"""What a fast decoder raises for bytes that it does not like."""

RTL_FORMATS: Final = {LZNT1: 2, XPRESS: 3, XPRESS_HUFFMAN: 4}
"""``COMPRESSION_FORMAT_...`` of ``ntifs.h``, with the standard engine."""

type_of_fast = Callable[[bytes, int], bytes]


@attrs.frozen
class _FastPath:
    """A library with decoders.

    Attributes:
        name: What it is called.
        decoders: By compression field; each takes the stored bytes and the size of the chunk.
    """

    name: str
    decoders: Mapping[int, type_of_fast]


def decompress(method: int, data: ReadableBuffer, size: int) -> bytes | bytearray:
    """Decompress one chunk; may be called from any thread.

    Args:
        method: The compression field of the record.
        data: The stored bytes, exactly those of the chunk; ``bytes`` are not copied.
        size: Logical size of the chunk in bytes; the caller has checked it against its limits.

    Returns:
        Exactly ``size`` bytes, not yet compared with the digest.

    Raises:
        ChunkMismatchError: The bytes break the format or give another size; code
            ``chunk.compressed``.
        UnsupportedFormatError: No such method is known; code ``chunk.compression``.
        LimitError: No decoder can be asked for such a size; code ``limit.chunk``.
    """
    source = bytes(data)
    fast = _fast()
    decoder = None if fast is None else fast.decoders.get(method)
    if decoder is None or not 0 < size <= min(MAX_SIZE, SPARSE * len(source)):
        return decompress_strictly(method, source, size)
    try:
        out = decoder(source, size)
    except REFUSALS:
        return decompress_strictly(method, source, size)
    return out if len(out) == size else decompress_strictly(method, source, size)


def decompress_strictly(method: int, data: ReadableBuffer, size: int) -> bytes | bytearray:
    """Do as :func:`decompress`, always with the reference decoder.

    Args:
        method: See there.
        data: See there.
        size: See there.

    Returns:
        Exactly ``size`` bytes.

    Raises:
        ChunkMismatchError: See there.
        UnsupportedFormatError: See there.
        LimitError: See there.
    """
    if not 0 <= size <= MAX_SIZE:
        raise LimitError(f"a chunk of {size} bytes cannot be decoded", code="limit.chunk")
    source = bytes(data)
    if method == XPRESS:
        return xpress.decode(source, size)
    if method == LZNT1:
        return lznt1.decode(source, size)
    if method == XPRESS_HUFFMAN:
        return huffman.decode(source, size)
    if method != NONE:
        raise UnsupportedFormatError(
            f"chunk with compression {method}, known are 0 to 3", code="chunk.compression"
        )
    if len(source) != size:
        raise damaged("plain chunk", f"{len(source)} bytes where {size} are due", 0, 0)
    return source


def fast_path() -> str | None:
    """Name the library that decodes: ``"libfwnt"``, ``"ntdll"``, or ``None`` for the reference.

    The reference is 5 to 30 times slower; the extra ``windows`` brings libfwnt.
    """
    fast = _fast()
    return None if fast is None else fast.name


@functools.cache
def _fast() -> _FastPath | None:
    """Look for a library once."""
    return _libfwnt() or _ntdll()


def _libfwnt() -> _FastPath | None:
    """Bind libfwnt (extra ``windows``); its calls let go of the interpreter's lock."""
    try:
        library = importlib.import_module("pyfwnt")
    except ImportError:
        return None
    return _FastPath(
        name="libfwnt",
        decoders={
            LZNT1: library.lznt1_decompress,
            XPRESS: library.lzxpress_decompress,
            XPRESS_HUFFMAN: library.lzxpress_huffman_decompress,
        },
    )


def _ntdll() -> _FastPath | None:
    """Bind ``RtlDecompressBufferEx`` of Windows 8 and later.

    Not run: written from the documentation of the call, tested with a stand-in only.
    """
    load = getattr(ctypes, "WinDLL", None)
    if load is None:
        return None
    try:
        library = load("ntdll")
        call, ask = library.RtlDecompressBufferEx, library.RtlGetCompressionWorkSpaceSize
    except (OSError, AttributeError):
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    call.argtypes = (
        *(ctypes.c_uint16, pointer, number),
        *(ctypes.c_char_p, number, ctypes.POINTER(number), pointer),
    )
    ask.argtypes = ctypes.c_uint16, ctypes.POINTER(number), ctypes.POINTER(number)
    call.restype = ask.restype = ctypes.c_int32
    decoders: dict[int, type_of_fast] = {}
    for method, rtl_format in RTL_FORMATS.items():
        whole, fragment = number(), number()
        if ask(rtl_format, ctypes.byref(whole), ctypes.byref(fragment)) == 0:
            decoders[method] = functools.partial(_rtl, call, rtl_format, whole.value)
    return _FastPath(name="ntdll", decoders=decoders)


def _rtl(
    call: Callable[..., int], rtl_format: int, workspace: int, data: bytes, size: int
) -> bytes:
    """Decompress with ``RtlDecompressBufferEx``; the workspace belongs to this call alone.

    Args:
        call: The function.
        rtl_format: Its ``CompressionFormat``.
        workspace: Bytes that it wants to work in.
        data: The stored bytes.
        size: Size of the chunk.

    Returns:
        What it gave, ``size`` bytes or fewer.

    Raises:
        OSError: It returned an error, ``STATUS_BAD_COMPRESSION_BUFFER`` as a rule.
    """
    out = ctypes.create_string_buffer(size)
    scratch = ctypes.create_string_buffer(workspace)
    final = ctypes.c_uint32()
    status = call(rtl_format, out, size, data, len(data), ctypes.byref(final), scratch)
    if status:
        raise OSError(f"RtlDecompressBufferEx returned {status & 0xFFFFFFFF:#010x}")
    return out.raw[: final.value]
