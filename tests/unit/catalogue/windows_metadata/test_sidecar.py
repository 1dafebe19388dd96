import base64
import json
from typing import Any

import pytest

from rehydrate.catalogue.windows_metadata import WindowsMetadata, keep, sidecar
from rehydrate.errors import StoreError
from tests.unit.catalogue.windows_metadata.volumes import (
    ACCESSED,
    CHANGED,
    CREATED,
    GROUP_TEXT,
    MODIFIED,
    USER_TEXT,
    ace,
    acl,
    descriptor,
    entry,
    full_ea,
    named,
    volume,
)

FORM = WindowsMetadata.SIDECAR


def text_of(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(content)
    return found


def test_description_is_enough_to_put_all_back() -> None:
    eas = full_ea(b"FIRST", b"abc", 0x80, last=True)
    kept = keep(
        volume(descriptor=descriptor(), extended=eas, streams={"Zone.Identifier": b"zone"}),
        entry(
            name="dir/\u00fc\u4e2d.txt".encode(),
            size=77,
            attributes=0x627,
            reparse_tag=0x80000013,
            created=CREATED,
            modified=MODIFIED,
            accessed=ACCESSED,
            changed=CHANGED,
            owner=USER_TEXT,
            streams=named(**{"Zone.Identifier": 4}),
        ),
        FORM,
    )
    (name, content), stream = kept.sidecars
    assert name == b".ntfs.json"
    assert stream == (b".ntfs-stream.Zone.Identifier", b"zone")
    assert (kept.metadata.xattrs, kept.metadata.mode, kept.lost) == ((), 0o444, ())
    assert "\u00fc\u4e2d" in content.decode()
    assert text_of(content) == {
        "format": "rehydrate-ntfs-metadata",
        "version": 1,
        "name": "\u00fc\u4e2d.txt",
        "directory": False,
        "size": 77,
        "times": {
            "created": {"utc": "2019-12-31T23:59:59.1234566Z", "filetime": CREATED},
            "modified": {"utc": "2020-01-01T00:00:00.1234567Z", "filetime": MODIFIED},
            "accessed": {"utc": "2020-01-01T00:00:02.1234570Z", "filetime": ACCESSED},
            "changed": {"utc": "2020-01-01T00:00:03.1234572Z", "filetime": CHANGED},
        },
        "attributes": {
            "set": ["READONLY", "HIDDEN", "SYSTEM", "ARCHIVE"],
            "set_hex": "0x00000027",
            "on_volume_hex": "0x00000627",
        },
        "owner": USER_TEXT,
        "security": {
            "sddl": f"O:{USER_TEXT}G:{GROUP_TEXT}D:(A;OICIID;0x1200a9;;;{USER_TEXT})"
            "(D;OICI;0x1f01ff;;;S-1-1-0)",
            "descriptor_base64": base64.b64encode(descriptor()).decode(),
        },
        "extended_attributes": {
            "list_base64": base64.b64encode(eas).decode(),
            "entries": [{"name": "FIRST", "flags": 128, "value_base64": "YWJj"}],
        },
        "streams": [
            {"name": "Zone.Identifier", "size": 4, "suffix": ".ntfs-stream.Zone.Identifier"}
        ],
    }


def test_what_is_not_known_is_null() -> None:
    kept = keep(volume(), entry(modified=2**64 - 1), FORM)
    ((_, content),) = kept.sidecars
    found = text_of(content)
    assert found["times"] == {
        "created": None,
        "modified": {"utc": None, "filetime": 2**64 - 1},
        "accessed": None,
        "changed": None,
    }
    for key in ("attributes", "owner", "security", "extended_attributes"):
        assert found[key] is None
    assert (found["streams"], kept.lost) == ([], ())


def test_bytes_that_make_no_sense_are_kept_as_they_are() -> None:
    kept = keep(volume(descriptor=b"bad", extended=b"bad"), entry(), FORM)
    found = text_of(kept.sidecars[0][1])
    assert found["security"] == {
        "sddl": None,
        "descriptor_base64": "YmFk",
        "problem": "the security descriptor is too short",
    }
    assert found["extended_attributes"] == {
        "list_base64": "YmFk",
        "problem": "extended attributes end inside a header at 0",
    }
    assert kept.lost == ()


def test_descriptor_beyond_text_is_kept_as_bytes() -> None:
    odd = descriptor(dacl=acl(ace(0x42, 0, 1, b"")))
    found = text_of(keep(volume(descriptor=odd), entry(), FORM).sidecars[0][1])
    assert found["security"] == {
        "sddl": None,
        "descriptor_base64": base64.b64encode(odd).decode(),
    }


def test_names_of_streams_become_names_of_files() -> None:
    names = ["plain", "per%cent", "sl/ash", "n\0ul\x1f\x7f", "\u00fc", "lone\ud800", "x" * 240]
    kept = keep(
        volume(streams=dict.fromkeys(names, b"1")),
        entry(streams=named(**dict.fromkeys(names, 1))),
        FORM,
    )
    (_, content), *streams = kept.sidecars
    assert [name for name, _ in streams] == [
        b".ntfs-stream.plain",
        b".ntfs-stream.per%25cent",
        b".ntfs-stream.sl%2Fash",
        b".ntfs-stream.n%00ul%1F%7F",
        b".ntfs-stream.\xc3\xbc",
        b".ntfs-stream.lone%ED%A0%80",
        b".ntfs-stream.%n6",
    ]
    assert [line["name"] for line in text_of(content)["streams"]] == names
    assert [line["suffix"].encode() for line in text_of(content)["streams"]] == [
        name for name, _ in streams
    ]


def test_streams_without_a_file_are_named_in_the_description(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sidecar, "MAX_STREAM_BYTES", 10)
    kept = keep(
        volume(streams={"first": b"123456", "unread": StoreError("no  luck\n"), "third": b"1234"}),
        entry(streams=named(first=6, second=5, unread=1, third=4) + named(first=6)),
        FORM,
    )
    (_, content), *streams = kept.sidecars
    assert streams == [(b".ntfs-stream.first", b"123456"), (b".ntfs-stream.third", b"1234")]
    assert [line["suffix"] for line in text_of(content)["streams"]] == [
        ".ntfs-stream.first",
        None,
        None,
        ".ntfs-stream.third",
        None,
    ]
    assert kept.lost == (
        "stream:second (larger than 4 bytes)",
        "stream:unread (no luck)",
        "stream:first (no name for its file)",
    )


def test_name_too_long_for_a_file_beside_it() -> None:
    kept = keep(
        volume(descriptor=descriptor(), streams={"s": b"1"}),
        entry(name=b"d/" + b"n" * 245, streams=named(s=1)),
        FORM,
    )
    (_, content), *streams = kept.sidecars
    assert streams == []
    assert text_of(content)["streams"] == [{"name": "s", "size": 1, "suffix": None}]
    assert kept.lost == ("stream:s (no name for its file)",)
    kept = keep(
        volume(descriptor=descriptor(), streams={"s": b"1"}),
        entry(name=b"d/" + b"n" * 246, streams=named(s=1)),
        FORM,
    )
    assert kept.sidecars == ()
    assert kept.lost == ("sidecar (the name is too long)", "acl", "stream:s")


def test_unpaired_surrogates_survive_the_description() -> None:
    name = "\ud800\u20ac.txt"
    kept = keep(volume(), entry(name=name.encode("utf-8", "surrogatepass")), FORM)
    content = kept.sidecars[0][1]
    assert rb"\ud800" in content
    assert text_of(content)["name"] == name


def test_same_entry_has_the_same_description() -> None:
    one = entry(created=CREATED, attributes=0x20)
    first, second = (keep(volume(descriptor=descriptor()), one, FORM) for _ in range(2))
    assert first == second
