import struct

from rehydrate.catalogue.windows_metadata import WindowsMetadata, keep
from tests.unit.catalogue.windows_metadata.volumes import (
    ACCESSED,
    CHANGED,
    CREATED,
    EVERYONE,
    MODIFIED,
    ace,
    acl,
    descriptor,
    entry,
    full_ea,
    named,
    volume,
)

FORM = WindowsMetadata.NTFS3G


def test_everything_that_the_driver_takes() -> None:
    kept = keep(
        volume(
            descriptor=descriptor() + b"behind",
            extended=full_ea(b"FIRST", b"abc", last=True),
            streams={"a": b"one", "b": b""},
        ),
        entry(
            attributes=0x0020_3E27,
            reparse_tag=0x80000013,
            created=CREATED,
            modified=MODIFIED,
            accessed=ACCESSED,
            owner="S-1-1-0",
            streams=named(a=3, b=0),
        ),
        FORM,
    )
    assert kept.metadata.xattrs == (
        (b"system.ntfs_acl", descriptor()),
        (b"system.ntfs_ea", full_ea(b"FIRST", b"abc")),
        (b"user.a", b"one"),
        (b"user.b", b""),
        (b"system.ntfs_attrib_be", b"\0\0\x20\x27"),
        (b"system.ntfs_times_be", struct.pack(">3Q", CREATED, MODIFIED, ACCESSED)),
    )
    assert (kept.metadata.mode, kept.metadata.mtime_ns) == (0o444, 1_577_836_800_123_456_700)
    assert (kept.metadata.uid, kept.metadata.gid, kept.sidecars) == (None, None, ())
    assert kept.lost == ("attributes (COMPRESSED, 0x200000)",)


def test_nothing_known_is_nothing_kept_and_nothing_lost() -> None:
    kept = keep(volume(), entry(), FORM)
    assert (kept.metadata.xattrs, kept.metadata.mtime_ns, kept.lost) == ((), None, ())


def test_compression_of_a_directory_is_what_its_new_files_get() -> None:
    kept = keep(volume(), entry(directory=True, attributes=0x811), FORM)
    assert kept.metadata.xattrs == ((b"system.ntfs_attrib_be", b"\0\0\x08\x01"),)
    assert kept.metadata.mode == 0o755


def test_times_stop_at_the_first_unknown_one() -> None:
    kept = keep(volume(), entry(created=CREATED, modified=MODIFIED, changed=CHANGED), FORM)
    assert kept.metadata.xattrs == (
        (b"system.ntfs_times_be", struct.pack(">2Q", CREATED, MODIFIED)),
    )
    assert kept.lost == ("change time",)
    kept = keep(volume(), entry(created=CREATED, accessed=ACCESSED), FORM)
    assert kept.metadata.xattrs == ((b"system.ntfs_crtime_be", struct.pack(">Q", CREATED)),)
    assert kept.lost == ("access time",)
    kept = keep(volume(), entry(modified=1), FORM)
    assert kept.metadata.xattrs == ()
    assert kept.lost == ("modification time (outside of 1677 to 2262)",)


def test_time_beyond_the_range_of_posix_is_kept_by_the_driver() -> None:
    kept = keep(volume(), entry(created=1, modified=2**62), FORM)
    assert kept.metadata.mtime_ns is None
    assert kept.metadata.xattrs == ((b"system.ntfs_times_be", struct.pack(">2Q", 1, 2**62)),)
    assert kept.lost == ()


def test_descriptor_that_the_driver_would_refuse_is_lost_with_its_owner() -> None:
    for data, reason in (
        (descriptor(None), "without owner or group"),
        (descriptor(group=None), "without owner or group"),
        (b"\1", "the security descriptor is too short"),
        (b"\1" + bytes(1 << 20), "larger than 1048576 bytes"),
    ):
        kept = keep(volume(descriptor=data), entry(owner="S-1-1-0"), FORM)
        assert kept.metadata.xattrs == ()
        assert kept.lost == (f"acl ({reason})", "owner")


def test_values_that_no_system_takes_are_lost() -> None:
    big = acl(*[ace(0, 0, 1, EVERYONE)] * 3200)
    wide = full_ea(b"E" * 255, bytes(65000)) * 2
    kept = keep(
        volume(
            descriptor=descriptor(dacl=big, sacl=big[:-32000].replace(b"\x80\xfa", b"\x80\x7d", 1)),
            extended=wide,
            streams={"fits": bytes(65536), "x" * 250: b"1", "x" * 251: b"1", "\ud800": b"1"},
        ),
        entry(
            streams=named(fits=65536, over=65537)
            + named(**{"x" * 250: 1, "x" * 251: 1, "\ud800": 1, "fits": 65536})
        ),
        FORM,
    )
    assert [name for name, _ in kept.metadata.xattrs or ()] == [b"user.fits", b"user." + b"x" * 250]
    assert kept.lost[1:] == (
        "ea (larger than 65536 bytes)",
        "stream:over (larger than 65536 bytes)",
        f"stream:{'x' * 251} (the name is too long)",
        r"stream:\ud800 (its name is no valid text)",
        "stream:fits (its name is taken)",
    )
    assert kept.lost[0].startswith("acl (")


def test_extended_attributes_that_make_no_sense_are_lost() -> None:
    kept = keep(volume(extended=b"\1"), entry(), FORM)
    assert kept.metadata.xattrs == ()
    assert kept.lost == ("ea (extended attributes end inside a header at 0)",)
