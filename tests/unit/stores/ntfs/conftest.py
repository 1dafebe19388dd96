import pytest

from rehydrate.stores.ntfs import NtfsVolume
from rehydrate.stores.volume import VolumeEntry
from tests.unit.stores.ntfs.images import listed, make_image, opened
from tests.windows_store.volume import NeedsNtfs


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The volume of `images.make_image`; nobody changes it."""
    path = tmp_path_factory.mktemp("ntfs") / "volume.img"
    try:
        pytest.importorskip("pytsk3")
        make_image(path)
    except NeedsNtfs as missing:
        pytest.skip(str(missing))
    return path.read_bytes()


@pytest.fixture(scope="session")
def volume(image: bytes) -> NtfsVolume:
    return opened(image)


@pytest.fixture(scope="session")
def tree(volume: NtfsVolume) -> dict[bytes, VolumeEntry]:
    return listed(volume)
