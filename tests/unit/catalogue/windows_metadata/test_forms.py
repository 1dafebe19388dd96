import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehydrate.catalogue.windows_metadata import WindowsMetadata, default_form, keep
from rehydrate.catalogue.windows_metadata.carried import MAX_VALUE
from rehydrate.errors import CorruptMetadataError, StoreReadError
from rehydrate.staging.metadata import MAX_XATTR_BYTES, MAX_XATTRS
from tests.unit.catalogue.windows_metadata.volumes import (
    ACCESSED,
    CHANGED,
    CREATED,
    MODIFIED,
    descriptor,
    entry,
    full_ea,
    named,
    volume,
)

XATTRS = (WindowsMetadata.NTFS3G, WindowsMetadata.SAMBA)


def test_none_keeps_mode_and_time_and_says_the_rest() -> None:
    kept = keep(
        volume(descriptor=descriptor(), extended=full_ea(b"FIRST", b"abc")),
        entry(
            attributes=0x627,
            created=CREATED,
            modified=MODIFIED,
            accessed=ACCESSED,
            changed=CHANGED,
            owner="S-1-1-0",
            streams=named(s=1),
        ),
        WindowsMetadata.NONE,
    )
    assert (kept.metadata.mode, kept.metadata.mtime_ns) == (0o444, 1_577_836_800_123_456_700)
    assert (kept.metadata.xattrs, kept.sidecars) == ((), ())
    assert kept.lost == (
        "acl",
        "owner",
        "attributes (HIDDEN, SYSTEM)",
        "ea",
        "stream:s",
        "creation time",
        "access time",
        "change time",
    )


def test_none_loses_nothing_that_is_not_there_or_as_usual() -> None:
    for usual in (entry(), entry(attributes=0x621), entry(attributes=0x80, modified=MODIFIED)):
        assert keep(volume(), usual, WindowsMetadata.NONE).lost == ()
    directory = entry(directory=True, attributes=0x11)
    assert keep(volume(), directory, WindowsMetadata.NONE).lost == ("attributes (READONLY)",)
    assert keep(volume(extended=b""), entry(), WindowsMetadata.NONE).lost == ()
    strange = entry(modified=2**64 - 1)
    assert keep(volume(), strange, WindowsMetadata.NONE).lost == (
        "modification time (outside of 1677 to 2262)",
    )


@pytest.mark.parametrize("form", WindowsMetadata)
def test_reparse_data_of_others_is_lost(form: WindowsMetadata) -> None:
    other = entry(reparse_tag=0xA000000C)
    assert keep(volume(), other, form).lost == ("reparse point (tag 0xA000000C)",)
    assert keep(volume(), entry(reparse_tag=0x80000013), form).lost == ()


@pytest.mark.parametrize("form", [form for form in WindowsMetadata if form.value != "none"])
def test_what_cannot_be_read_never_costs_the_file(form: WindowsMetadata) -> None:
    kept = keep(
        volume(
            descriptor=StoreReadError("bad\nsector"),
            extended=CorruptMetadataError("no \x1b[31msense " + "x" * 400),
            streams={"gone": StoreReadError("gone"), "short": b"12"},
        ),
        entry(streams=named(gone=1, short=3)),
        form,
    )
    assert sorted(kept.lost) == [
        "acl (bad sector)",
        r"ea (no \x1b[31msense " + "x" * 143 + ")",
        "stream:gone (gone)",
        "stream:short (ends early)",
    ]
    assert kept.metadata.xattrs == ()


def test_names_of_others_cannot_spoil_a_terminal() -> None:
    evil = entry(streams=named(**{"\x1b[2J\n\udc80": 1}))
    assert keep(volume(), evil, WindowsMetadata.NONE).lost == (r"stream:\x1b[2J\n\udc80",)


@pytest.mark.parametrize("form", XATTRS)
def test_first_reason_counts(form: WindowsMetadata) -> None:
    twice = volume(streams={"s": StoreReadError("gone")})
    kept = keep(twice, entry(streams=named(s=1) + named(s=1 << 20)), form)
    assert kept.lost == ("stream:s (gone)",)


@pytest.mark.parametrize("form", XATTRS)
def test_streams_stop_at_the_limits_of_staging(form: WindowsMetadata) -> None:
    many = {f"s{number}": b"x" for number in range(MAX_XATTRS + 5)}
    kept = keep(volume(streams=dict(many)), entry(streams=named(**dict.fromkeys(many, 1))), form)
    assert len(kept.metadata.xattrs or ()) == MAX_XATTRS
    assert kept.lost == tuple(
        f"stream:s{MAX_XATTRS + number} (too many extended attributes)" for number in range(5)
    )
    size = MAX_VALUE - 1
    large = {f"s{number}": bytes(size) for number in range(20)}
    kept = keep(
        volume(streams=dict(large)), entry(streams=named(**dict.fromkeys(large, size))), form
    )
    found = kept.metadata.xattrs or ()
    assert sum(len(name) + len(value) for name, value in found) <= MAX_XATTR_BYTES
    assert (len(found), len(kept.lost)) == (15, 5)


@given(
    st.binary(max_size=60),
    st.binary(max_size=60),
    st.lists(st.text(st.characters(), min_size=1, max_size=5), max_size=3),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
)
def test_nothing_that_is_found_on_a_volume_raises(
    security: bytes, eas: bytes, names: list[str], bits: int, time: int
) -> None:
    whole = volume(
        descriptor=descriptor() + security if len(security) % 2 else security,
        extended=full_ea(b"E", b"") + eas if len(eas) % 2 else eas,
        streams=dict.fromkeys(names, b"1"),
    )
    one = entry(
        attributes=bits,
        created=time,
        modified=time ^ bits,
        streams=tuple(stream for name in names for stream in named(**{name: 1})),
    )
    for form in WindowsMetadata:
        kept = keep(whole, one, form)
        assert all(text.isprintable() for text in kept.lost)
        assert len({suffix for suffix, _ in kept.sidecars}) == len(kept.sidecars)
        xattrs = kept.metadata.xattrs or ()
        assert len({name for name, _ in xattrs}) == len(xattrs)


def test_default_is_what_the_target_can_do() -> None:
    def probe(reply: dict[str, int]) -> tuple[list[str], WindowsMetadata]:
        asked: list[str] = []

        def getxattr(place: Path, name: str) -> bytes:
            assert name == "system.ntfs_times_be"
            asked.append(place.name)
            if reply[place.name]:
                raise OSError(reply[place.name], "no")
            return bytes(32)

        return asked, default_form(Path("/mnt/new/out"), getxattr)

    assert probe({"out": 0}) == (["out"], WindowsMetadata.NTFS3G)
    assert probe({"out": errno.ENOTSUP}) == (["out"], WindowsMetadata.NONE)
    found = probe({"out": errno.ENOENT, "new": errno.ENOENT, "mnt": 0})
    assert found == (["out", "new", "mnt"], WindowsMetadata.NTFS3G)
    nowhere = dict.fromkeys(("out", "new", "mnt", ""), errno.ENOENT)
    assert probe(nowhere) == (["out", "new", "mnt", ""], WindowsMetadata.NONE)
    assert default_form(Path("out"), None) is WindowsMetadata.NONE


def test_default_on_an_ordinary_file_system(tmp_path: Path) -> None:
    assert default_form(tmp_path) is WindowsMetadata.NONE
