import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from rehydrate.errors import (
    CorruptMetadataError,
    StoreReadError,
    UnsupportedFormatError,
)
from rehydrate.stores.images.bindings import ForeignOpen, LibrarySource
from rehydrate.stores.images.bytesource import FileSource, FileView
from rehydrate.stores.images.layers import open_vmdk
from rehydrate.values import MAX_OFFSET


class Handle:
    """A library's object: gives zeros, in the way that ``answer`` says."""

    def __init__(self, answer: Callable[[int, int], bytes]) -> None:
        self.answer = answer
        self.closed = 0

    def read_buffer_at_offset(self, size: int, offset: int) -> bytes:
        return self.answer(size, offset)

    def close(self) -> None:
        self.closed += 1
        raise OSError("cannot close")


def constant(answer: bytes, _size: int, _offset: int) -> bytes:
    return answer


def test_large_reads_are_made_in_pieces() -> None:
    asked: list[tuple[int, int]] = []

    def answer(size: int, offset: int) -> bytes:
        asked.append((size, offset))
        return bytes(size)

    source = LibrarySource(Handle(answer), 1 << 30, name="x")
    assert source.read(5, 40 << 20) == bytes(40 << 20)
    assert asked == [(16 << 20, 5), (16 << 20, 5 + (16 << 20)), (8 << 20, 5 + (32 << 20))]


def test_a_library_is_asked_by_one_thread_at_a_time() -> None:
    locked: list[bool] = []

    def answer(size: int, _offset: int) -> bytes:
        locked.append(source._lock.locked())
        return bytes(size)

    source = LibrarySource(Handle(answer), 100, name="x")
    source.read(0, 10)
    assert locked == [True]


def test_short_answers_are_asked_again_and_impossible_ones_refused() -> None:
    source = LibrarySource(Handle(lambda size, _: bytes(min(size, 7))), 100, name="x")
    assert source.read(3, 50) == bytes(50)
    for answer in (b"", bytes(11)):
        handle = Handle(partial(constant, answer))
        with pytest.raises(StoreReadError, match=f"gave {len(answer)} bytes"):
            LibrarySource(handle, 100, name="x").read(0, 10)


@pytest.mark.parametrize(
    "error", [OSError("x" * 5000), MemoryError(), OverflowError(), SystemError(), TypeError("t")]
)
def test_whatever_a_library_raises_is_a_typed_error_with_its_place(error: Exception) -> None:
    def answer(size: int, offset: int) -> bytes:
        raise error

    source = LibrarySource(Handle(answer), 100, name="image")
    with pytest.raises(StoreReadError) as caught:
        source.read(3, 10)
    assert (caught.value.container, caught.value.offset, caught.value.length) == ("image", 3, 10)
    assert caught.value.__cause__ is error
    assert len(str(caught.value)) < 500


def test_an_interruption_is_not_an_error_of_the_image() -> None:
    def answer(size: int, offset: int) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LibrarySource(Handle(answer), 100, name="image").read(0, 1)
    with pytest.raises(KeyboardInterrupt), ForeignOpen("image", "vmdk", []):
        raise KeyboardInterrupt


@pytest.mark.parametrize("size", [-1, MAX_OFFSET + 1])
def test_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(CorruptMetadataError, match=str(size)):
        LibrarySource(Handle(lambda size, _: bytes(size)), size, name="x")


def test_a_library_that_does_not_close_is_closed_once_and_forgotten() -> None:
    handle = Handle(lambda size, _: bytes(size))
    source = LibrarySource(handle, 10, name="x", closes=[handle])
    source.close()
    source.close()
    assert handle.closed == 1
    with pytest.raises(StoreReadError, match="closed"):
        source.read(0, 1)


def test_errors_at_the_opening_are_those_of_the_file_or_typed_by_their_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    view = FileView(FileSource(path))
    opening = ForeignOpen("x", "vmdk", [view])
    with pytest.raises(UnsupportedFormatError, match="x cannot be opened as vmdk"), opening:
        raise OSError("unsupported version")
    with pytest.raises(CorruptMetadataError, match="MemoryError"), opening:
        raise MemoryError
    path.write_bytes(b"")
    with pytest.raises(StoreReadError, match="ended before") as caught:
        view.read(5)
    with pytest.raises(StoreReadError, match="ended before") as again, opening:
        raise OSError("unable to read")
    assert again.value is caught.value


@pytest.mark.parametrize(
    ("count", "name", "kind", "message"),
    [
        (0, "a", CorruptMetadataError, "has 0 extents"),
        (5000, "a", CorruptMetadataError, "has 5000 extents"),
        (2, None, UnsupportedFormatError, "without a file"),
        (1, "", UnsupportedFormatError, "without a file"),
        (1, "a/..", CorruptMetadataError, "without a name"),
        (1, "a\0b", CorruptMetadataError, "without a name"),
    ],
)
def test_hostile_lists_of_extents_are_refused(
    count: int,
    name: str | None,
    kind: type[Exception],
    message: str,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library itself would hardly let them through, so it is replaced here."""

    class Vmdk:
        def open_file_object(self, file_object: object) -> None: ...

        def get_media_size(self) -> int:
            return 512

        def get_parent_content_identifier(self) -> int | None:
            return None

        def get_number_of_extents(self) -> int:
            return count

        def get_extent_descriptor(self, index: int) -> SimpleNamespace:
            return SimpleNamespace(get_filename=lambda: name)

    monkeypatch.setitem(sys.modules, "pyvmdk", SimpleNamespace(handle=Vmdk))
    path = tmp_path / "d.vmdk"
    path.write_text("# Disk DescriptorFile\n")
    with pytest.raises(kind, match=message):
        open_vmdk(path, FileSource(path))
