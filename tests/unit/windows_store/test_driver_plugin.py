"""The public deduplication plugin of ntfs-3g reads what we write, where it is installed."""

import random
from pathlib import Path

import pytest

from tests.windows_store.store import FORMATS, WindowsStore
from tests.windows_store.structures import XPRESS
from tests.windows_store.volume import Entry, NeedsNtfs, ntfs_image, ntfs_mounted

PLUGIN = "ntfs-plugin-80000013.so"
FOLDERS = [
    Path("/lib"),
    Path("/lib64"),
    Path("/usr/local/lib"),
    *Path("/usr/lib").glob("*-linux-*"),
]


@pytest.fixture
def plugin() -> None:
    if not any((folder / "ntfs-3g" / PLUGIN).exists() for folder in FOLDERS):
        pytest.skip(f"needs the ntfs-3g plugin {PLUGIN}")


@pytest.mark.usefixtures("plugin")
def test_the_plugin_reads_files_of_a_generated_volume(tmp_path: Path) -> None:
    store = WindowsStore()
    noise = random.Random(5)
    data = noise.randbytes(200_000) + bytes(200_000) + b"some text again and again " * 9000
    tree = [
        Entry(
            f"{stub}.bin", file=store.add_file(data + stub.encode(), stub=stub, compression=XPRESS)
        )
        for stub in FORMATS
    ]
    parts = store.add_file(noise.randbytes(500_000), stub="2.1", parts=4)
    tree.append(Entry("parts.bin", file=parts))
    try:
        ntfs_image(tmp_path / "volume.img", tree, store)
    except NeedsNtfs as missing:
        pytest.skip(str(missing))
    with ntfs_mounted(tmp_path / "volume.img", "ro") as root:
        for entry in tree:
            assert (root / entry.path).read_bytes() == entry.content
