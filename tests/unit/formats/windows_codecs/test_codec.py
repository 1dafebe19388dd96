"""One call for all codecs: who decodes, and who has the last word."""

import ctypes
import importlib
import random
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rehydrate.errors import ChunkMismatchError, LimitError, UnsupportedFormatError
from rehydrate.formats.windows.codec import codec
from rehydrate.formats.windows.codec.codec import decompress, decompress_strictly, fast_path
from tests.unit.formats.windows_codecs.texts import IDS, REFERENCE
from tests.windows_store.encoders import encode

METHODS = pytest.mark.parametrize("method", [1, 2, 3], ids=IDS)
TEXT = random.Random(5).randbytes(999) + bytes(500) + b"the end"

type_of_find = Callable[[str], types.ModuleType]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Each test finds its own library, and leaves none behind."""
    codec._fast.cache_clear()
    yield
    codec._fast.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, module: types.ModuleType | None) -> None:
    """Make ``pyfwnt`` be this module, or missing."""

    def find(name: str) -> types.ModuleType:
        assert name == "pyfwnt"
        if module is None:
            raise ModuleNotFoundError(name)
        return module

    monkeypatch.setattr(importlib, "import_module", find)


def library(decode: Callable[[bytes, int], bytes]) -> types.ModuleType:
    """Make a stand-in for pyfwnt with one way to decode."""
    module = types.ModuleType("pyfwnt")
    vars(module).update(
        lznt1_decompress=decode, lzxpress_decompress=decode, lzxpress_huffman_decompress=decode
    )
    return module


@METHODS
def test_the_output_of_a_fast_decoder_is_taken_if_its_length_is_right(
    monkeypatch: pytest.MonkeyPatch, method: int
) -> None:
    """The caller compares digests anyway."""
    install(monkeypatch, library(lambda data, size: b"x" * size))
    assert fast_path() == "libfwnt"
    assert decompress(method, encode(method, TEXT), len(TEXT)) == b"x" * len(TEXT)
    assert decompress_strictly(method, encode(method, TEXT), len(TEXT)) == TEXT


@METHODS
@pytest.mark.parametrize("error", [OSError, ValueError, MemoryError, RuntimeError])
def test_the_reference_has_the_last_word_where_the_fast_one_refuses(
    monkeypatch: pytest.MonkeyPatch, method: int, error: type[Exception]
) -> None:
    def refuse(data: bytes, size: int) -> bytes:
        raise error

    install(monkeypatch, library(refuse))
    stored = encode(method, TEXT)
    assert decompress(method, stored, len(TEXT)) == TEXT
    with pytest.raises(ChunkMismatchError):
        decompress(method, stored, len(TEXT) - 1)


@METHODS
def test_the_reference_has_the_last_word_where_the_length_is_wrong(
    monkeypatch: pytest.MonkeyPatch, method: int
) -> None:
    install(monkeypatch, library(lambda data, size: b"x" * (size - 1)))
    assert decompress(method, encode(method, TEXT), len(TEXT)) == TEXT


@METHODS
def test_without_a_library_the_reference_does_the_work(
    monkeypatch: pytest.MonkeyPatch, method: int
) -> None:
    install(monkeypatch, None)
    monkeypatch.delattr(ctypes, "WinDLL", raising=False)
    assert fast_path() is None
    assert decompress(method, encode(method, TEXT), len(TEXT)) == TEXT


@METHODS
def test_the_fast_decoder_gets_bytes_whatever_the_caller_has(
    monkeypatch: pytest.MonkeyPatch, method: int
) -> None:
    """Libfwnt misreads other buffers."""
    seen: list[bytes] = []

    def keep(data: bytes, size: int) -> bytes:
        seen.append(data)
        return bytes(size)

    install(monkeypatch, library(keep))
    stored = encode(method, TEXT)
    for form in (stored, bytearray(stored), memoryview(stored), memoryview(b".." + stored)[2:]):
        decompress(method, form, len(TEXT))
        assert decompress_strictly(method, form, len(TEXT)) == TEXT
    assert [type(data) for data in seen] == [bytes] * 4
    assert seen[0] is stored
    assert set(seen) == {stored}


@METHODS
def test_a_chunk_that_is_nearly_nothing_goes_to_the_reference(
    monkeypatch: pytest.MonkeyPatch, method: int
) -> None:
    def refuse(data: bytes, size: int) -> bytes:
        raise AssertionError

    install(monkeypatch, library(refuse))
    if method != 3:
        assert decompress(method, encode(method, bytes(1 << 17)), 1 << 17) == bytes(1 << 17)
    assert decompress(method, b"", 0) == b""
    with pytest.raises(ChunkMismatchError):
        decompress(method, b"", 5)


def test_a_plain_chunk_is_itself() -> None:
    assert decompress(0, memoryview(TEXT), len(TEXT)) == TEXT
    with pytest.raises(ChunkMismatchError, match="3 bytes where 4 are due"):
        decompress(0, b"abc", 4)


@pytest.mark.parametrize("method", [-1, 4, 2**32 - 1])
def test_an_unknown_method_is_named(method: int) -> None:
    with pytest.raises(UnsupportedFormatError, match=str(method)) as caught:
        decompress(method, b"abc", 3)
    assert caught.value.code == "chunk.compression"


@METHODS
@pytest.mark.parametrize("size", [-1, 2**31, 2**64])
def test_a_size_that_no_decoder_takes_is_refused(method: int, size: int) -> None:
    with pytest.raises(LimitError) as caught:
        decompress(method, b"abc", size)
    assert caught.value.code == "limit.chunk"


def test_numbers_of_methods_are_those_of_the_records() -> None:
    assert (codec.NONE, codec.LZNT1, codec.XPRESS, codec.XPRESS_HUFFMAN) == (0, 1, 2, 3)


class Ntdll:
    """Stands for ntdll: the two calls as Microsoft documents them, with our decoders inside."""

    def __init__(self, *, known: frozenset[int] = frozenset({2, 3, 4})) -> None:
        """Remember what is asked."""
        self.workspaces: list[int] = []

        def ask(form: int, whole: Any, fragment: Any) -> int:
            if form not in known:
                return -0x3FFFFDA1  # STATUS_UNSUPPORTED_COMPRESSION
            ctypes.cast(whole, ctypes.POINTER(ctypes.c_uint32))[0] = 1000 * form
            return 0

        def call(*given: Any) -> int:
            form, out, room, data, length, final, scratch = given
            assert isinstance(data, bytes)
            assert (room, length) == (len(out), len(data))
            self.workspaces.append(len(scratch))
            try:
                text = REFERENCE[form - 1](data, room)
            except ChunkMismatchError:
                return -0x3FFFFDBE  # STATUS_BAD_COMPRESSION_BUFFER
            ctypes.memmove(out, bytes(text), len(text))
            ctypes.cast(final, ctypes.POINTER(ctypes.c_uint32))[0] = len(text)
            return 0

        self.RtlDecompressBufferEx = call
        self.RtlGetCompressionWorkSpaceSize = ask


def windows(monkeypatch: pytest.MonkeyPatch, load: Callable[[str], object]) -> None:
    """Make ctypes look as on Windows, without libfwnt."""
    install(monkeypatch, None)
    monkeypatch.setattr(ctypes, "WinDLL", load, raising=False)


@METHODS
def test_on_windows_ntdll_decodes(monkeypatch: pytest.MonkeyPatch, method: int) -> None:
    ntdll = Ntdll()
    windows(monkeypatch, {"ntdll": ntdll}.__getitem__)
    assert fast_path() == "ntdll"
    stored = encode(method, TEXT)
    assert decompress(method, stored, len(TEXT)) == TEXT
    assert ntdll.workspaces == [1000 * (method + 1)]
    with pytest.raises(ChunkMismatchError):
        decompress(method, stored[:-5], len(TEXT))
    assert len(ntdll.workspaces) == 2


def test_a_method_that_ntdll_does_not_know_is_left_to_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ntdll = Ntdll(known=frozenset({2, 3}))
    windows(monkeypatch, lambda name: ntdll)
    assert decompress(3, encode(3, TEXT), len(TEXT)) == TEXT
    assert not ntdll.workspaces


def test_the_reference_has_the_last_word_where_ntdll_gives_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is left of the buffer are zeros that nobody decoded."""
    ntdll = Ntdll()
    whole = ntdll.RtlDecompressBufferEx

    def less(*given: Any) -> int:
        status = whole(*given)
        ctypes.cast(given[5], ctypes.POINTER(ctypes.c_uint32))[0] -= 1
        ctypes.memset(given[1], 0, given[2])
        return status

    ntdll.RtlDecompressBufferEx = less
    windows(monkeypatch, lambda name: ntdll)
    assert decompress(2, encode(2, TEXT), len(TEXT)) == TEXT


def test_an_old_ntdll_is_no_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Windows 8 there is no RtlDecompressBufferEx."""
    windows(monkeypatch, lambda name: object())
    assert fast_path() is None


def test_an_ntdll_that_does_not_load_is_no_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> object:
        raise OSError(name)

    windows(monkeypatch, fail)
    assert fast_path() is None
