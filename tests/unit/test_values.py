"""Small values hold what they promise."""

import pytest

from rehydrate.values import MAX_OFFSET, ContainerExtent, FileExtent, StorePath, as_windows


def test_windows_form_of_a_path() -> None:
    path = StorePath("System Volume Information/Dedup/ChunkStore/{A}.ddp/Data/1.ccc")
    assert as_windows(path) == (
        "\\System Volume Information\\Dedup\\ChunkStore\\{A}.ddp\\Data\\1.ccc"
    )


def test_extent_is_half_open() -> None:
    assert FileExtent(3, 4).end == 7


@pytest.mark.parametrize("bad", [-1, True, 1.0, "1"])
def test_extent_takes_plain_numbers_only(bad: object) -> None:
    with pytest.raises(ValueError, match="must be an int"):
        FileExtent(bad, 1)  # type: ignore[arg-type]  # what a test of validation is for


def test_container_extent_defaults_to_the_whole_container() -> None:
    extent = ContainerExtent(index=2)
    assert (extent.offset, extent.length) == (0, MAX_OFFSET)
    with pytest.raises(TypeError):
        ContainerExtent(2)  # type: ignore[call-arg]  # keyword-only by contract
