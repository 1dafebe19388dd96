import base64
import json
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehydrate.catalogue.windows_metadata import WindowsMetadata, keep
from rehydrate.catalogue.windows_metadata.descriptor import decode_descriptor
from rehydrate.catalogue.windows_metadata.samba import dos_attributes, nt_acl
from rehydrate.catalogue.windows_metadata.sddl import sddl
from tests.unit.catalogue.windows_metadata.volumes import (
    ACCESSED,
    CHANGED,
    CREATED,
    EVERYONE,
    GROUP,
    GROUP_TEXT,
    MODIFIED,
    USER,
    USER_TEXT,
    ace,
    acl,
    descriptor,
    entry,
    full_ea,
    named,
    volume,
)

FORM = WindowsMetadata.SAMBA
PYTHON = Path("/usr/bin/python3")
READER = """
import base64, json, sys
from samba.dcerpc import security, xattr
from samba.ndr import ndr_pack, ndr_unpack

def entries(acl):
    return None if acl is None else [
        [one.type, one.flags, one.access_mask, str(one.trustee)] for one in acl.aces]

def described(sd):
    return [str(sd.owner_sid or ""), str(sd.group_sid or ""), entries(sd.dacl), entries(sd.sacl)]

def dos(data):
    found = ndr_unpack(xattr.DOSATTRIB, data)
    return [found.version, found.info.valid_flags, found.info.attrib, found.info.create_time,
            base64.b64encode(ndr_pack(found)).decode()]

def acl(data):
    found = ndr_unpack(xattr.NTACL, data)
    return [found.version, described(found.info)]

def text(data):
    return described(security.descriptor.from_sddl(data.decode(), security.dom_sid("S-1-5-21-1-2-3")))

known = {"dos": dos, "acl": acl, "text": text}
print(json.dumps([known[kind](base64.b64decode(data)) for kind, data in json.load(sys.stdin)]))
"""


def ask_samba(questions: Sequence[tuple[str, bytes]]) -> list[Any]:
    """Let Samba's own bindings decode values, in a process of their own."""
    probe = [str(PYTHON), "-c", "import samba.dcerpc.xattr"]
    if not PYTHON.exists() or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("Samba's Python bindings are not installed (Debian: python3-samba)")
    asked = [(kind, base64.b64encode(data).decode()) for kind, data in questions]
    done = subprocess.run(
        [str(PYTHON), "-c", READER],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    answers: list[Any] = json.loads(done.stdout)
    return answers


def test_everything_that_a_server_finds_again() -> None:
    kept = keep(
        volume(
            descriptor=descriptor() + b"behind",
            extended=full_ea(b"FIRST", b"abc") + full_ea(b"NEEDED", b"", 0x80),
            streams={"Zone.Identifier": b"[ZoneTransfer]\r\n", "empty": b""},
        ),
        entry(
            attributes=0x0000_3EA3,
            created=CREATED,
            modified=MODIFIED,
            accessed=ACCESSED,
            changed=CHANGED,
            owner="S-1-1-0",
            streams=named(**{"Zone.Identifier": 16, "empty": 0}),
        ),
        FORM,
    )
    assert kept.metadata.xattrs == (
        (b"security.NTACL", nt_acl(descriptor())),
        (b"user.DOSATTRIB", dos_attributes(0x23, CREATED)),
        (b"user.FIRST", b"abc"),
        (b"user.NEEDED", b""),
        (b"user.DosStream.Zone.Identifier:$DATA", b"[ZoneTransfer]\r\n\0"),
        (b"user.DosStream.empty:$DATA", b"\0"),
    )
    assert (kept.metadata.mode, kept.metadata.mtime_ns) == (0o444, 1_577_836_800_123_456_700)
    assert kept.lost == (
        "attributes (COMPRESSED, NOT_CONTENT_INDEXED)",
        "ea:NEEDED (only the flag NEED_EA)",
        "access time",
        "change time",
    )


def test_nothing_known_is_nothing_kept_and_nothing_lost() -> None:
    kept = keep(volume(), entry(), FORM)
    assert (kept.metadata.xattrs, kept.lost, kept.sidecars) == ((), (), ())


def test_directory_says_so() -> None:
    kept = keep(volume(), entry(directory=True, attributes=0x412), FORM)
    assert kept.metadata.xattrs == ((b"user.DOSATTRIB", dos_attributes(0x12, 0)),)
    kept = keep(volume(), entry(directory=True, created=CREATED), FORM)
    assert kept.metadata.xattrs == ((b"user.DOSATTRIB", dos_attributes(0x10, CREATED)),)


def test_what_a_server_cannot_hold_is_lost() -> None:
    eas = (b"DosAttrib", b"dosstream.x:$DATA", b"SAMBA_PAI", b"\xdcML", b"N\0L", b"GOOD")
    kept = keep(
        volume(
            descriptor=b"short",
            extended=b"".join(full_ea(name, b"v") for name in eas),
            streams={"fits": bytes(65535), "\udfff": b"1"},
        ),
        entry(
            modified=2**62,
            owner="S-1-1-0",
            streams=named(**{"fits": 65535, "over": 65536, "\udfff": 1}),
        ),
        FORM,
    )
    assert [name for name, _ in kept.metadata.xattrs or ()] == [
        b"user.GOOD",
        b"user.DosStream.fits:$DATA",
    ]
    assert kept.lost == (
        "acl (the security descriptor is too short)",
        "owner",
        "ea:DosAttrib (Samba has no such name)",
        "ea:dosstream.x:$DATA (Samba has no such name)",
        "ea:SAMBA_PAI (Samba has no such name)",
        "ea:\xdcML (Samba has no such name)",
        r"ea:N\x00L (Samba has no such name)",
        "stream:over (larger than 65535 bytes)",
        r"stream:\udfff (its name is no valid text)",
        "modification time (outside of 1677 to 2262)",
    )


def test_extended_attributes_that_make_no_sense_are_lost() -> None:
    kept = keep(volume(extended=b"\1"), entry(), FORM)
    assert kept.lost == ("ea (extended attributes end inside a header at 0)",)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_layout_of_dos_attributes(attributes: int, created: int) -> None:
    value = dos_attributes(attributes, created)
    text, _, rest = value.partition(b"\0")
    assert int(text, 16) == attributes
    place = len(value) - len(rest)
    place += place % 2
    assert value[place : place + 4] == b"\3\0\3\0"
    place += 4 + -(place + 4) % 4
    valid, again, _ = struct.unpack_from("<III", value, place)
    assert (valid, again) == (0x11 if created else 0x01, attributes)
    assert struct.unpack("<QQQQ", value[-32:]) == (0, 0, created, 0)
    assert len(value) == place + 12 + 32


DESCRIPTORS = (
    descriptor(),
    descriptor(None, None),
    descriptor(dacl=None),
    descriptor(dacl=None, control=4),
    descriptor(sacl=acl(ace(2, 0xC0, 2, EVERYONE)), dacl=acl()),
    descriptor(dacl=acl(ace(9, 0, 1, EVERYONE, b"artx" + bytes(4)), ace(0, 0, 2, USER))),
    descriptor(sacl=acl(ace(0x11, 0, 1, EVERYONE), ace(0x13, 0, 0, EVERYONE))),
    struct.pack("<BBH4I", 1, 0, 0x8000, 20, 20, 0, 0) + USER,
    descriptor(GROUP, USER, control=0x1400),
)


def test_samba_reads_the_attributes() -> None:
    asked = [
        (attributes, created)
        for attributes in (0, 0x12, 0x27, 0x127, 0x2127, 0xFFFFFFFF)
        for created in (0, CREATED, 2**63)
    ]
    answers = ask_samba([("dos", dos_attributes(*one)) for one in asked])
    for (attributes, created), answer in zip(asked, answers, strict=True):
        assert answer[:4] == [3, 0x11 if created else 1, attributes, created]
        assert base64.b64decode(answer[4]) == dos_attributes(attributes, created)


def test_samba_reads_the_descriptor() -> None:
    for data, (version, found) in zip(
        DESCRIPTORS, ask_samba([("acl", nt_acl(data)) for data in DESCRIPTORS]), strict=True
    ):
        assert version == 1
        assert found == described(data)


def test_samba_reads_the_text() -> None:
    whole = descriptor(
        sacl=acl(ace(2, 0xC0, 2, EVERYONE), ace(3, 0x80, 1, USER)),
        dacl=acl(ace(0, 0x13, 0x1200A9, USER), ace(1, 0x0C, 0xF01FF, EVERYONE)),
        control=0x1400,
    )
    text = sddl(decode_descriptor(whole))
    assert text is not None
    (found,) = ask_samba([("text", text.encode())])
    assert found == described(whole)
    assert found[:2] == [USER_TEXT, GROUP_TEXT]


def described(data: bytes) -> list[Any]:
    found = decode_descriptor(data)
    lists = [
        None if part is None else [[one.kind, one.flags, one.mask, one.sid] for one in part.aces]
        for part in (found.dacl, found.sacl)
    ]
    return [found.owner or "", found.group or "", *lists]
