import os
import random
from pathlib import Path

import pytest

from rehydrate.errors import ContainerNotFoundError, StoreReadError
from rehydrate.stores.images.bytesource import (
    MAX_READ,
    PAGE,
    ByteSource,
    FileSource,
    FileView,
    OverlaySource,
    RowSource,
    WindowSource,
)


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    path = tmp_path / "hundred"
    path.write_bytes(bytes(range(100)))
    return path


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def all_kinds(path: Path) -> dict[str, ByteSource]:
    file = FileSource(path)
    overlay = OverlaySource(file, 100, name="overlay")
    return {
        "file": file,
        "row": RowSource(
            [WindowSource(file, at, 10, name="w") for at in range(0, 100, 10)], name="r"
        ),
        "window": WindowSource(file, 0, 100, name="window"),
        "overlay": overlay,
    }


KINDS = ("file", "row", "window", "overlay")


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_exactly_the_bytes_that_were_asked_for(kind: str, hundred: Path) -> None:
    source = all_kinds(hundred)[kind]
    assert source.size == 100
    for offset in (0, 1, 9, 10, 55, 99, 100):
        for size in {0, 1, 10, 11, 100 - offset}:
            if offset + size <= 100:
                assert source.read(offset, size) == bytes(range(offset, offset + size))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("offset", "size"), [(-1, 1), (0, -1), (0, 101), (100, 1), (101, 0), (2**70, 1), (1, 2**70)]
)
def test_every_source_refuses_what_is_not_inside(
    kind: str, offset: int, size: int, hundred: Path
) -> None:
    with pytest.raises(StoreReadError) as caught:
        all_kinds(hundred)[kind].read(offset, size)
    assert (caught.value.offset, caught.value.length) == (offset, size)


def test_a_hostile_size_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(MAX_READ * 4)
    source = FileSource(path)
    with pytest.raises(StoreReadError, match="no read may be larger"):
        source.read(0, MAX_READ + 1)


def test_a_file_is_opened_for_reading_only_and_closed_once(hundred: Path) -> None:
    hundred.chmod(0o444)
    before = open_descriptors()
    source = FileSource(hundred)
    flags = Path(f"/proc/self/fdinfo/{source._fd}").read_text().split("flags:")[1].split()[0]
    assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY
    source.close()
    source.close()
    assert open_descriptors() == before
    with pytest.raises(StoreReadError) as caught:
        source.read(0, 1)
    assert str(hundred) in str(caught.value)


def test_a_file_that_became_shorter_is_an_error_with_the_place(hundred: Path) -> None:
    source = FileSource(hundred)
    os.truncate(hundred, 40)
    with pytest.raises(StoreReadError, match="ended before") as caught:
        source.read(30, 20)
    assert (caught.value.offset, caught.value.length) == (40, 10)


def test_a_system_without_positioned_reads_seeks(
    hundred: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pread")
    source = FileSource(hundred)
    for offset, size in [(90, 10), (3, 5), (0, 100)]:
        assert source.read(offset, size) == bytes(range(offset, offset + size))


def test_only_files_and_block_devices_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = open_descriptors()
    with pytest.raises(ContainerNotFoundError):
        FileSource(tmp_path / "none")
    for other in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), Path("a\0b")):
        with pytest.raises(StoreReadError):
            FileSource(other)
    assert open_descriptors() == before


def test_a_window_that_reaches_beyond_its_image_says_that_it_is_cut_off(hundred: Path) -> None:
    file = FileSource(hundred)
    for start, size in [(90, 11), (-1, 5), (101, 0), (0, -1), (0, 2**65)]:
        with pytest.raises(StoreReadError, match="cut off"):
            WindowSource(file, start, size, name="partition 1")
    window = WindowSource(file, 10, 5, name="partition 1")
    window.close()
    assert window.read(1, 3) == file.read(11, 3)


def test_a_row_closes_its_parts(hundred: Path) -> None:
    parts = [FileSource(hundred), FileSource(hundred)]
    before = open_descriptors()
    row = RowSource(parts, name="row")
    assert row.size == 200
    assert row.read(95, 10) == bytes([*range(95, 100), *range(5)])
    row.close()
    assert open_descriptors() == before - 2


def test_an_overlay_does_what_writing_would_do(tmp_path: Path) -> None:
    chance = random.Random(4)
    model = bytearray(chance.randbytes(PAGE * 9 + 100))
    path = tmp_path / "file"
    path.write_bytes(model)
    overlay = OverlaySource(FileSource(path), PAGE * 12, name="file")
    model += bytes(PAGE * 12 - len(model))
    for _ in range(60):
        page = chance.randrange(12)
        if chance.random() < 0.4:
            pages = chance.randrange(1, 13 - page)
            overlay.clear(page * PAGE, pages * PAGE)
            model[page * PAGE : (page + pages) * PAGE] = bytes(pages * PAGE)
        else:
            data = chance.randbytes(PAGE)
            overlay.put(page * PAGE, data)
            model[page * PAGE : (page + 1) * PAGE] = data
        offset = chance.randrange(len(model))
        size = chance.randrange(len(model) - offset)
        assert overlay.read(offset, size) == model[offset : offset + size]
        assert overlay.read(offset, 1) == model[offset : offset + 1]
    assert path.read_bytes() != model
    overlay.close()


def test_a_view_behaves_like_a_file(hundred: Path) -> None:
    view = FileView(FileSource(hundred))
    assert view.get_size() == 100
    with hundred.open("rb") as file:
        for step in (5, -1, 0, 7):
            assert view.seek(3) == file.seek(3)
            assert view.read(step) == file.read(step)
            assert view.tell() == file.tell()
        assert view.seek(-10, os.SEEK_END) == file.seek(-10, os.SEEK_END)
        assert view.seek(2, os.SEEK_CUR) == file.seek(2, os.SEEK_CUR)
        assert view.read() == file.read()
        assert view.seek(500) == file.seek(500)
        assert view.read(10) == file.read(10) == b""
    for place in (-1, 2**63):
        with pytest.raises(OSError, match="no place"):
            view.seek(place)


def test_a_view_remembers_the_first_error(hundred: Path) -> None:
    view = FileView(FileSource(hundred))
    os.truncate(hundred, 50)
    view.seek(40)
    for _ in range(2):
        with pytest.raises(StoreReadError):
            view.read(20)
    assert view.error is not None
    assert view.error.offset == 50
