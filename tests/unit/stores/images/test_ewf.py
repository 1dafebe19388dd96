import os
import random
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from rehydrate.errors import (
    ContainerNotFoundError,
    CorruptMetadataError,
    RestoreError,
    StoreReadError,
)
from rehydrate.stores.images.ewf import _next_path
from rehydrate.stores.images.source import open_image
from tests.unit.stores.images.disks import MIB, disk_bytes

DISK = disk_bytes(3 * MIB + 1536)
Acquire = Callable[..., Path]


@pytest.fixture
def acquire(tmp_path: Path, needs: Callable[..., None]) -> Acquire:
    needs("ewfacquire")
    (tmp_path / "disk.raw").write_bytes(DISK)

    def run(*options: str, name: str = "d") -> Path:
        subprocess.run(
            ["ewfacquire", "-u", "-q", "-t", name, *options, "disk.raw"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        return next(
            file
            for file in tmp_path.iterdir()
            if file.name.lower()[:-3] == f"{name}." and file.name.endswith("01")
        )

    return run


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(
    "options",
    [
        ("-S", "1MiB"),
        ("-c", "best", "-S", "1MiB"),
        ("-c", "empty-block"),
        ("-f", "encase1"),
        ("-f", "encase2"),
        ("-f", "encase7", "-b", "128"),
        ("-f", "ftk"),
        ("-f", "linen6"),
        ("-f", "smart", "-S", "1MiB"),
        ("-f", "ewf", "-c", "fast"),
    ],
    ids=" ".join,
)
def test_a_disk_comes_back_out_of_every_kind(options: tuple[str, ...], acquire: Acquire) -> None:
    first = acquire(*options)
    before = open_descriptors()
    with open_image(first) as image:
        assert image.layer == "ewf"
        assert image.files == tuple(sorted(first.parent.glob("d.[!r]*")))
        if "-S" in options:
            assert len(image.files) > 2
        assert image.source.read(0, image.source.size) == DISK
        assert image.source.read(MIB - 100, MIB) == DISK[MIB - 100 : 2 * MIB - 100]
        with pytest.raises(StoreReadError):
            image.source.read(len(DISK), 1)
    assert open_descriptors() == before


def test_a_damaged_chunk_is_an_error_and_the_others_are_read(acquire: Acquire) -> None:
    first = acquire("-S", "1MiB")
    second = first.with_suffix(".E02")
    data = bytearray(second.read_bytes())
    data[500_000] ^= 1
    second.write_bytes(data)
    with open_image(first) as image:
        errors: list[StoreReadError] = []
        for offset in range(0, len(DISK), 32768):
            size = min(32768, len(DISK) - offset)
            try:
                got = image.source.read(offset, size)
            except StoreReadError as caught:
                errors.append(caught)
            else:
                assert got == DISK[offset : offset + size]
    (error,) = errors
    assert error.code == "image.chunk"
    assert error.offset is not None
    assert error.offset % 32768 == 0
    assert error.length == 32768
    assert "segment 2" in str(error)


def test_no_flipped_byte_ever_gives_wrong_bytes(acquire: Acquire, tmp_path: Path) -> None:
    acquire("-c", "best", "-S", "1MiB")
    chance = random.Random(2)
    segments = sorted(tmp_path.glob("d.E*"))
    failed = 0
    for _ in range(60):
        segment = chance.choice(segments)
        good = segment.read_bytes()
        bad = bytearray(good)
        near = chance.choice([len(bad), 3000, 200])
        low = chance.randrange(8, near)  # without its first bytes it is no EWF image at all
        place = chance.choice([low, len(bad) - 1 - chance.randrange(near - 8)])
        bad[place] ^= chance.randrange(1, 256)
        segment.write_bytes(bad)
        try:
            with open_image(segments[0]) as image:
                assert image.source.read(0, image.source.size) == DISK
        except RestoreError:
            failed += 1
        segment.write_bytes(good)
    assert failed > 20


def test_a_lost_foreign_or_cut_segment_is_refused(acquire: Acquire, tmp_path: Path) -> None:
    first = acquire("-S", "1MiB")
    segments = sorted(tmp_path.glob("d.E*"))
    before = open_descriptors()
    for lost in segments[1:]:
        lost.rename(tmp_path / "away")
        with pytest.raises(ContainerNotFoundError, match=lost.name):
            open_image(first)
        (tmp_path / "away").rename(lost)
    with pytest.raises(ContainerNotFoundError, match="name the first one"):
        open_image(segments[1])
    for cut in segments:
        good = cut.read_bytes()
        for size in (13, 50, 200, len(good) // 2, len(good) - 77, len(good) - 1):
            os.truncate(cut, size)
            with pytest.raises((CorruptMetadataError, ContainerNotFoundError)):
                open_image(first)
            cut.write_bytes(good)
    segments[2].write_bytes(segments[1].read_bytes())
    with pytest.raises(ContainerNotFoundError, match="segment 2 of an image, not 3"):
        open_image(first)
    assert open_descriptors() == before


def test_a_segment_of_another_image_is_told_by_the_identity_of_the_set(
    acquire: Acquire, tmp_path: Path
) -> None:
    first = acquire("-S", "1MiB", "-f", "encase6")
    acquire("-S", "1MiB", "-f", "encase6", name="o")
    (tmp_path / "o.E02").replace(tmp_path / "d.E02")
    ids = set()
    for name in ("d.E01", "d.E02"):
        data = (tmp_path / name).read_bytes()
        for _, kind, body in sections(data):
            if kind in {b"volume", b"data"}:
                ids.add(body[64:80])
    if len(ids) == 1:  # this build of ewfacquire gives no identities: make one up
        forged = bytearray((tmp_path / "d.E02").read_bytes())
        place = next(at for at, kind, _ in sections(bytes(forged)) if kind == b"data") + 76
        forged[place + 64] ^= 1
        summed = bytes(forged[place : place + 1048])
        forged[place + 1048 : place + 1052] = struct.pack("<I", zlib.adler32(summed))
        (tmp_path / "d.E02").write_bytes(forged)
    with pytest.raises(CorruptMetadataError, match="segment of another image"):
        open_image(first)


def sections(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """Place, kind and body of all sections of a segment."""
    found: list[tuple[int, bytes, bytes]] = []
    place = 13
    while True:
        kind, following = struct.unpack_from("<16sQ", data, place)
        kind = kind.rstrip(b"\0")
        found.append((place, kind, data[place + 76 : following]))
        if kind in {b"next", b"done"}:
            return found
        place = following


def resealed(data: bytearray, place: int) -> None:
    """Make the check sum of a section's descriptor right again."""
    data[place + 72 : place + 76] = struct.pack("<I", zlib.adler32(bytes(data[place : place + 72])))


def test_the_copy_of_a_table_is_used_where_the_first_is_damaged(acquire: Acquire) -> None:
    first = acquire()
    good = first.read_bytes()
    places = {kind: place for place, kind, _ in sections(good)}
    for kinds in ((b"table",), (b"table2",), (b"table", b"table2")):
        for inside in (76, 76 + 24 + 40):  # the number of entries, an entry
            data = bytearray(good)
            for kind in kinds:
                data[places[kind] + inside] ^= 1
            first.write_bytes(data)
            if len(kinds) == 1:
                with open_image(first) as image:
                    assert image.source.read(0, len(DISK)) == DISK
            else:
                with pytest.raises(CorruptMetadataError), open_image(first) as image:
                    image.source.read(0, len(DISK))


def test_hostile_numbers_with_right_check_sums_are_refused(acquire: Acquire) -> None:
    first = acquire()
    good = first.read_bytes()
    places = {kind: place for place, kind, _ in sections(good)}
    seen = 0
    for value in (0, 1, 2**31 - 1, 2**31, 2**32 - 1):
        for field in (4, 8, 12, 16, 20):  # chunks, sectors, sizes
            data = bytearray(good)
            start = places[b"volume"] + 76
            data[start + field : start + field + 4] = struct.pack("<I", value)
            data[start + 1048 : start + 1052] = struct.pack(
                "<I", zlib.adler32(bytes(data[start : start + 1048]))
            )
            seen += refused(first, data)
        for kind in (b"header", b"sectors", b"table", b"done"):
            data = bytearray(good)
            data[places[kind] + 16 : places[kind] + 24] = struct.pack("<Q", value)
            resealed(data, places[kind])
            seen += refused(first, data)
        data = bytearray(good)
        for kind in (b"table", b"table2"):
            start = places[kind] + 76
            data[start : start + 4] = struct.pack("<I", value)
            data[start + 20 : start + 24] = struct.pack(
                "<I", zlib.adler32(bytes(data[start : start + 20]))
            )
        seen += refused(first, data)
    assert seen > 20


def refused(path: Path, data: bytearray) -> bool:
    """Tell whether an image is refused; if not, nothing in it may be wrong."""
    path.write_bytes(data)
    try:
        with open_image(path) as image:
            size = min(image.source.size, len(DISK))
            assert image.source.read(0, size) == DISK[:size]
    except RestoreError:
        return True
    return False


@pytest.mark.parametrize(
    ("first", "number", "expected"),
    [
        ("d.E01", 2, "d.E02"),
        ("d.E01", 99, "d.E99"),
        ("d.E01", 100, "d.EAA"),
        ("d.e01", 101, "d.eab"),
        ("d.E01", 125, "d.EAZ"),
        ("d.E01", 126, "d.EBA"),
        ("d.E01", 775, "d.EZZ"),
        ("d.E01", 776, "d.FAA"),
        ("d.s01", 100, "d.saa"),
    ],
)
def test_segments_are_named_as_the_programs_name_them(
    first: str, number: int, expected: str, tmp_path: Path
) -> None:
    (tmp_path / expected).touch()
    assert _next_path(tmp_path / first, number).name == expected


def test_an_image_under_another_name_cannot_have_more_segments(
    acquire: Acquire, tmp_path: Path
) -> None:
    acquire("-S", "1MiB").rename(tmp_path / "renamed.image")
    with pytest.raises(ContainerNotFoundError, match="what they are called"):
        open_image(tmp_path / "renamed.image")
