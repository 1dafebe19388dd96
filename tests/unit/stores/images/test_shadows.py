import random
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from rehydrate.errors import (
    CorruptMetadataError,
    RequestError,
    RestoreError,
    StoreError,
    StoreReadError,
)
from rehydrate.stores.images.bytesource import ByteSource, FileSource, WindowSource
from rehydrate.stores.images.shadows import Shadow, shadow_source, snapshots
from tests.unit.stores.images.disks import MIB, boot_sector
from tests.windows_store.vss import BLOCK, FILETIME_OF_1970, HEADER, Snapshot, with_snapshots

SIZE = 2 * MIB
AREA = MIB
SECOND = 10_000_000  # FILETIME counts tenths of microseconds


def state(changes: int) -> bytes:
    """A volume in which so many blocks were written, each state over the one before."""
    volume = bytearray(random.Random(6).randbytes(AREA) + bytes(SIZE - AREA))
    boot = boot_sector(sectors=SIZE // 512)
    volume[:512] = boot
    volume[512:BLOCK] = bytes(BLOCK - 512)
    volume[-512:] = boot
    for change in range(changes):
        for place in (change, change + 1, 30 - change):
            start = (place + 1) * BLOCK
            volume[start : start + BLOCK] = bytes([change + 1]) * BLOCK
    return bytes(volume)


def snapshot(number: int, *, elsewhere: bool = False) -> Snapshot:
    return Snapshot(
        volume=state(number),
        created=FILETIME_OF_1970 + (1000 + number) * SECOND + 7,
        identifier=uuid.UUID(int=number + 1),
        set_identifier=uuid.UUID(int=number + 100),
        elsewhere=elsewhere,
    )


@pytest.fixture
def volume(tmp_path: Path, needs: Callable[..., None]) -> ByteSource:
    """A volume with three shadow copies and a present state."""
    needs("pyvshadow")
    path = tmp_path / "volume"
    path.write_bytes(with_snapshots(state(3), [snapshot(n) for n in range(3)], area=AREA))
    path.chmod(0o444)
    return FileSource(path)


def without_own(data: bytes) -> bytes:
    """The part of a volume that its snapshots do not need for themselves."""
    return data[:HEADER] + data[HEADER + 512 : AREA] + data[-512:]


def test_shadow_copies_are_listed_the_oldest_first(volume: ByteSource) -> None:
    assert snapshots(volume) == tuple(
        Shadow(
            number=number + 1,
            identifier=uuid.UUID(int=number + 1),
            set_identifier=uuid.UUID(int=number + 100),
            created_ns=(1000 + number) * 1_000_000_000 + 700,
            size=SIZE,
        )
        for number in range(3)
    )


def test_each_shadow_copy_shows_the_volume_as_it_was(volume: ByteSource) -> None:
    before = volume.read(0, SIZE)
    for number in (3, 1, 2):
        source = shadow_source(volume, number)
        assert source.size == SIZE
        expected = state(number - 1)
        assert without_own(source.read(0, SIZE)) == without_own(expected)
        for offset, size in [(BLOCK - 3, 9), (3 * BLOCK - 1, BLOCK + 2), (AREA - 5, 5)]:
            assert source.read(offset, size) == expected[offset : offset + size]
        for offset, size in [(SIZE, 1), (-1, 1), (0, SIZE + 1)]:
            with pytest.raises(StoreReadError):
                source.read(offset, size)
        source.close()
        with pytest.raises(StoreReadError):
            source.read(0, 1)
    assert volume.read(0, SIZE) == before
    assert without_own(before) == without_own(state(3))


def test_two_shadow_copies_are_read_side_by_side_in_a_window(
    volume: ByteSource, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(MIB) + volume.read(0, SIZE) + bytes(MIB))
    window = WindowSource(FileSource(disk), MIB, SIZE, name="partition 1")
    one, three = shadow_source(window, 1), shadow_source(window, 3)
    for place in range(BLOCK, AREA, 4 * BLOCK):
        assert one.read(place, 100) == state(0)[place : place + 100]
        assert three.read(place, 100) == state(2)[place : place + 100]


def test_there_are_no_other_shadow_copies(volume: ByteSource) -> None:
    for number in (0, 4, -1):
        with pytest.raises(RequestError, match="the volume has 3"):
            shadow_source(volume, number)


@pytest.mark.parametrize("size", [0, 512, HEADER + 511, SIZE])
def test_a_volume_without_shadow_copies_has_none_and_needs_no_library(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyvshadow", None)
    (tmp_path / "volume").write_bytes(state(0)[:size])
    source = FileSource(tmp_path / "volume")
    assert snapshots(source) == ()
    with pytest.raises(RequestError, match="the volume has 0"):
        shadow_source(source, 1)


def test_a_missing_library_is_named(volume: ByteSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvshadow", None)
    with pytest.raises(StoreError, match="libvshadow-python") as caught:
        snapshots(volume)
    assert caught.value.code == "store.extra-missing"


def test_a_shadow_copy_on_another_volume_is_listed_but_not_read(
    tmp_path: Path, needs: Callable[..., None]
) -> None:
    needs("pyvshadow")
    path = tmp_path / "volume"
    made = [snapshot(0), snapshot(1, elsewhere=True)]
    path.write_bytes(with_snapshots(state(2), made, area=AREA))
    source = FileSource(path)
    assert [each.created_ns // 1_000_000_000 for each in snapshots(source)] == [1000, 1001]
    with pytest.raises(StoreReadError, match="another volume"):
        shadow_source(source, 2)


def test_a_volume_that_was_cut_off_or_broken_is_a_typed_error(
    volume: ByteSource, tmp_path: Path
) -> None:
    good = volume.read(0, SIZE)
    chance = random.Random(9)
    refused = 0
    path = tmp_path / "bad"
    regions = (HEADER, AREA, AREA + BLOCK, AREA + 2 * BLOCK)
    for _ in range(120):
        bad = bytearray(good)
        for _ in range(2):
            place = chance.choice(regions) + chance.randrange(256)
            bad[place] = chance.choice([0, 1, 2, 0x7F, 0x80, 0xFF])
        if chance.random() < 0.3:
            bad = bad[: chance.randrange(HEADER, len(bad))]
        path.write_bytes(bad)
        source = FileSource(path)
        try:
            for each in snapshots(source):
                shadow = shadow_source(source, each.number)
                for offset in range(0, min(shadow.size, SIZE) - BLOCK, BLOCK):
                    shadow.read(offset, BLOCK)
        except RestoreError:
            refused += 1
    assert refused > 20
    path.write_bytes(good[: AREA + 100])
    with pytest.raises((CorruptMetadataError, StoreReadError)):
        snapshots(FileSource(path))
