import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rehydrate.catalogue.windows_metadata.descriptor import decode_descriptor
from rehydrate.catalogue.windows_metadata.sddl import sddl
from rehydrate.errors import CorruptMetadataError
from tests.unit.catalogue.windows_metadata.volumes import (
    ALLOW,
    EVERYONE,
    GROUP_TEXT,
    USER,
    USER_TEXT,
    ace,
    acl,
    descriptor,
    sid,
)

GUID = bytes(range(16))
GUID_TEXT = "03020100-0504-0706-0809-0a0b0c0d0e0f"
OWNED = f"O:{USER_TEXT}G:{GROUP_TEXT}"


def text_of(data: bytes) -> str | None:
    return sddl(decode_descriptor(data))


def test_descriptor_is_decoded() -> None:
    found = decode_descriptor(descriptor() + b"behind")
    assert (found.owner, found.group) == (USER_TEXT, GROUP_TEXT)
    assert found.size == len(descriptor())
    assert found.sacl is None
    assert found.dacl is not None
    first, second = found.dacl.aces
    assert (first.kind, first.flags, first.mask, first.sid) == (0, 0x13, 0x1200A9, USER_TEXT)
    assert (second.kind, second.flags, second.mask, second.sid) == (1, 3, 0x1F01FF, "S-1-1-0")


def test_owner_and_group_may_share_their_bytes() -> None:
    data = struct.pack("<BBH4I", 1, 0, 0x8000, 20, 20, 0, 0) + USER
    assert text_of(data) == f"O:{USER_TEXT}G:{USER_TEXT}"


def test_list_that_is_not_said_to_be_there_is_not() -> None:
    data = bytearray(descriptor())
    data[2] &= ~4
    assert decode_descriptor(bytes(data)).dacl is None
    assert text_of(bytes(data)) == OWNED


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            descriptor(),
            f"{OWNED}D:(A;OICIID;0x1200a9;;;{USER_TEXT})(D;OICI;0x1f01ff;;;S-1-1-0)",
        ),
        (descriptor(None, None, dacl=acl(), control=0x1000 | 0x0400 | 0x100), "D:PARAI"),
        (descriptor(None, None, dacl=None, control=4), "D:NO_ACCESS_CONTROL"),
        (descriptor(None, None, dacl=None), ""),
        (
            descriptor(
                None,
                None,
                dacl=None,
                control=0x2800,
                sacl=acl(ace(2, 0xC0, 0x2, EVERYONE), ace(0x11, 0, 5, sid(16, 8192)), room=4),
            ),
            "S:PAI(AU;SAFA;0x2;;;S-1-1-0)(ML;;NWNX;;;S-1-16-8192)",
        ),
        (
            descriptor(
                None, None, dacl=acl(ace(0x11, 0, 0x10001, EVERYONE), ace(0x11, 0, 0, EVERYONE))
            ),
            "D:(ML;;0x10001;;;S-1-1-0)(ML;;0x0;;;S-1-1-0)",
        ),
        (
            descriptor(
                None,
                None,
                dacl=acl(
                    ace(5, 0, 1, struct.pack("<I", 3) + GUID + GUID[::-1] + EVERYONE),
                    ace(6, 0, 1, struct.pack("<I", 1) + GUID + EVERYONE),
                    ace(5, 0, 1, struct.pack("<I", 2) + GUID + EVERYONE),
                    ace(5, 0, 1, struct.pack("<I", 0) + EVERYONE),
                    revision=4,
                ),
            ),
            (
                f"D:(OA;;0x1;{GUID_TEXT};0c0d0e0f-0a0b-0809-0706-050403020100;S-1-1-0)"
                f"(OD;;0x1;{GUID_TEXT};;S-1-1-0)(OA;;0x1;;{GUID_TEXT};S-1-1-0)(OA;;0x1;;;S-1-1-0)"
            ),
        ),
        (descriptor(sid(0x0123456789AB, 7), None, dacl=None), "O:S-1-0x0123456789AB-7"),
        (descriptor(sid(5), None, dacl=None), "O:S-1-5"),
        (
            descriptor(None, None, dacl=acl(ace(0, 0, 1, EVERYONE, bytes(4)))),
            "D:(A;;0x1;;;S-1-1-0)",
        ),
    ],
)
def test_descriptor_as_text(data: bytes, expected: str) -> None:
    assert text_of(data) == expected


@pytest.mark.parametrize(
    "entry",
    [
        ace(9, 0, 1, EVERYONE, b"artx" + bytes(4)),  # a condition
        ace(0x12, 0, 1, EVERYONE, b"claim..."),
        ace(0, 0x20, 1, EVERYONE),  # a flag that has no letters
        ace(0, 0, 1, EVERYONE, b"rest"),
        ace(0x42, 0, 1, b""),  # a type of tomorrow
        ace(4, 0, 1, EVERYONE),  # a compound, never used
    ],
)
def test_what_text_cannot_say_has_none(entry: bytes) -> None:
    assert text_of(descriptor(dacl=acl(entry))) is None
    assert text_of(descriptor(sacl=acl(entry))) is None


def patched(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value) :]


WHOLE = descriptor(dacl=None)
ACL_AT = len(WHOLE)
ACE_AT = ACL_AT + 8


@pytest.mark.parametrize(
    "data",
    [
        b"",
        descriptor()[:19],
        patched(descriptor(), 0, b"\2"),
        patched(descriptor(), 3, b"\0"),  # not self-relative
        patched(descriptor(), 4, b"\x08\0\0\0"),  # the owner in the header
        patched(patched(descriptor(), 1, b"\1"), 4, b"\1\0\0\0"),  # what looks like a SID there
        patched(descriptor(), 4, b"\xff\xff\xff\xff"),
        patched(descriptor(), 20, b"\2"),  # revision of a SID
        patched(descriptor(), 21, b"\x10"),  # 16 numbers
        descriptor()[:-1],
        patched(descriptor(), 16, struct.pack("<I", len(descriptor()) - 7)),
        patched(descriptor(), ACL_AT, b"\3"),
        patched(descriptor(), ACL_AT + 2, b"\7\0"),
        patched(descriptor(), ACL_AT + 2, b"\xff\xff"),
        patched(descriptor(), ACL_AT + 4, b"\3\0"),  # three entries
        patched(descriptor(), ACE_AT + 2, b"\x03\0"),
        patched(descriptor(), ACE_AT + 2, b"\x06\0"),
        patched(descriptor(), ACE_AT + 2, b"\xfc\xff"),
        descriptor(dacl=acl(b"\x42\0\6\0ab")),
        descriptor(dacl=acl(ace(0, 0, 1, b""))),
        descriptor(dacl=acl(ace(0, 0, 1, USER[:-4]))),
        descriptor(dacl=acl(ace(5, 0, 1, struct.pack("<I", 3) + GUID))),
    ],
)
def test_contradictions_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptMetadataError):
        decode_descriptor(data)


@given(st.binary(max_size=80))
@example(descriptor())
def test_arbitrary_bytes_are_decoded_or_refused(data: bytes) -> None:
    head = struct.pack("<BBH4I", 1, 0, 0x8014, 20, 20, 28, 28)
    for candidate in (data, head + data, acl(data), descriptor(dacl=acl(data))):
        try:
            found = decode_descriptor(candidate)
        except CorruptMetadataError:
            continue
        assert 20 <= found.size <= len(candidate)
        sddl(found)


@given(st.data())
def test_damaged_descriptors_are_decoded_or_refused(data: st.DataObject) -> None:
    whole = descriptor(sacl=ALLOW)
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = patched(whole, place, bytes([data.draw(st.integers(0, 255))]))
    try:
        found = decode_descriptor(damaged[: data.draw(st.integers(0, len(damaged)))])
    except CorruptMetadataError:
        return
    sddl(found)
