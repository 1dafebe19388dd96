import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehydrate.catalogue.windows_metadata.extended import (
    NEEDED,
    ExtendedAttribute,
    decode_extended,
    encode_extended,
)
from rehydrate.errors import CorruptMetadataError
from tests.unit.catalogue.windows_metadata.volumes import full_ea

FIRST = ExtendedAttribute(b"FIRST", b"abc")
SECOND = ExtendedAttribute(b"SECOND", b"de", NEEDED)


@pytest.mark.parametrize(
    "tail",
    [
        full_ea(b"SECOND", b"de", NEEDED),  # as on disk
        full_ea(b"SECOND", b"de", NEEDED, last=True),  # as Windows answers
        full_ea(b"SECOND", b"de", NEEDED, last=True) + bytes(3),
        full_ea(b"SECOND", b"de", NEEDED)[:-3],
    ],
)
def test_both_endings_are_read(tail: bytes) -> None:
    assert decode_extended(full_ea(b"FIRST", b"abc") + tail) == (FIRST, SECOND)


def test_empty_list_is_empty() -> None:
    assert decode_extended(b"") == ()


def test_list_is_written_as_on_disk() -> None:
    assert encode_extended((FIRST, SECOND)) == (
        full_ea(b"FIRST", b"abc") + full_ea(b"SECOND", b"de", NEEDED)
    )


GOOD = full_ea(b"FIRST", b"abc")


@pytest.mark.parametrize(
    "data",
    [
        GOOD + b"\0",
        GOOD[:7],
        GOOD[:12],
        full_ea(b"", b"abc"),
        full_ea(b"SECOND", b"de", last=True) + bytes(4),  # more than padding
        GOOD.replace(b"FIRST\0", b"FIRST!"),
        b"\x10" + GOOD[1:],  # the distance is too short
        b"\x18" + GOOD[1:] + bytes(4),  # and too long
        GOOD[:-1] + b"!" + GOOD,  # something in the padding
        bytes(4) + GOOD[4:] + GOOD,  # something behind the last
    ],
)
def test_contradictions_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptMetadataError):
        decode_extended(data)


ATTRIBUTES = st.builds(
    ExtendedAttribute,
    name=st.binary(min_size=1, max_size=255),
    value=st.binary(max_size=300),
    flags=st.sampled_from([0, NEEDED]),
)


@given(st.lists(ATTRIBUTES, max_size=5).map(tuple))
def test_written_lists_are_read(attributes: tuple[ExtendedAttribute, ...]) -> None:
    data = encode_extended(attributes)
    assert decode_extended(data) == attributes
    assert len(data) % 4 == 0


@given(st.binary(max_size=64), st.integers(0, 40))
def test_arbitrary_bytes_are_decoded_or_refused(data: bytes, cut: int) -> None:
    for candidate in (data, GOOD + data, (GOOD + GOOD)[:cut] + data):
        try:
            found = decode_extended(candidate)
        except CorruptMetadataError:
            continue
        assert decode_extended(encode_extended(found)) == found
