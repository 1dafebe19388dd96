"""Which names may be written, one row for each rule."""

import pytest

from rehydrate.errors import UnsafeTargetError
from rehydrate.staging.paths import (
    check_target,
    collision_key,
    display,
    is_short_alias,
    stays_inside,
)

REFUSED = {
    "empty": (b"", "name.empty"),
    "dot": (b".", "name.traversal"),
    "dot-dot": (b"..", "name.traversal"),
    "dot-dot-first": (b"../a", "name.traversal"),
    "dot-dot-inside": (b"a/../b", "name.traversal"),
    "dot-dot-last": (b"a/..", "name.traversal"),
    "dot-inside": (b"a/./b", "name.traversal"),
    "absolute": (b"/etc/passwd", "name.absolute"),
    "root": (b"/", "name.absolute"),
    "double-slash": (b"a//b", "name.component"),
    "slash-at-the-end": (b"a/", "name.component"),
    "nul": (b"a\0b", "name.nul"),
    "long-component": (b"x" * 256, "name.long"),
    "long-path": (b"/".join([b"x" * 200] * 21), "name.long"),
    "deep": (b"/".join([b"x"] * 257), "name.depth"),
    "workspace": (b".rehydrate-abc", "name.reserved"),
    "inside-a-workspace": (b".rehydrate-abc/lock", "name.reserved"),
    "workspace-below": (b"mnt/.rehydrate-abc/x", "name.reserved"),
}
ACCEPTED = {
    "plain": b"a",
    "deep": b"/".join([b"x"] * 256),
    "long": b"x" * 255,
    "long-path": b"/".join([b"x" * 255] * 15 + [b"x" * 254, b""]).rstrip(b"/"),
    "dots": b"...",
    "hidden": b".a/..b/c..",
    "not-utf-8": b"\xff\xfe/\x80",
    "backslash": b"a\\b",
    "windows-names": b"CON/aux.txt/a:b",
    "newline": b"a\nb",
    "nearly-reserved": b"x.rehydrate-abc/.rehydrate",
}
NOT_PORTABLE = {
    "backslash": (b"a\\b", "name.portable"),
    "drive": (b"C:/x", "name.portable"),
    "unc": (b"\\\\server\\share", "name.portable"),
    "verbatim": (b"\\\\?\\C:\\x", "name.portable"),
    "stream": (b"a:b", "name.portable"),
    "data-stream": (b"a::$DATA", "name.portable"),
    "index-stream": (b"d::$INDEX_ALLOCATION", "name.portable"),
    "device": (b"con", "name.portable"),
    "device-with-extension": (b"a/NUL.txt", "name.portable"),
    "device-with-two-extensions": (b"aux.tar.gz", "name.portable"),
    "device-with-space": (b"prn .txt", "name.portable"),
    "com1": (b"COM1", "name.portable"),
    "com0": (b"com0", "name.portable"),
    "superscript": ("LPT\u00b2".encode(), "name.portable"),
    "conin": (b"CONIN$", "name.portable"),
    "dot-at-the-end": (b"a.", "name.portable"),
    "space-at-the-end": (b"a /b", "name.portable"),
    "control": (b"a\x01b", "name.portable"),
    "angle": (b"a<b", "name.portable"),
    "pipe": (b"a|b", "name.portable"),
    "question": (b"a?b", "name.portable"),
    "star": (b"*", "name.portable"),
    "quote": (b'a"b', "name.portable"),
    "not-utf-8": (b"a\xff", "name.encoding"),
    "lone-surrogate": (b"\xed\xa0\x80", "name.encoding"),
}


@pytest.mark.parametrize(("path", "code"), REFUSED.values(), ids=REFUSED)
def test_refused_everywhere(path: bytes, code: str) -> None:
    with pytest.raises(UnsafeTargetError) as caught:
        check_target(path, windows=False)
    assert caught.value.code == code
    assert caught.value.file == display(path)


@pytest.mark.parametrize("path", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_and_unchanged(path: bytes) -> None:
    assert check_target(path, windows=False) == path
    assert check_target(display(path), windows=False) == path


@pytest.mark.parametrize(("path", "code"), NOT_PORTABLE.values(), ids=NOT_PORTABLE)
def test_refused_as_not_portable(path: bytes, code: str) -> None:
    assert check_target(path, windows=False) == path
    for choice in ({"portable_names": True, "windows": False}, {"windows": True}):
        with pytest.raises(UnsafeTargetError) as caught:
            check_target(path, **choice)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "path", [b"a/b.txt", "gr\u00fc\u00df".encode(), b"console", b"com10", b"a.b/ c", b"lpt"]
)
def test_portable(path: bytes) -> None:
    assert check_target(path, portable_names=True) == path


def test_length_counts_utf16_units_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name of at most 255 bytes has more units; the rule stands for longer byte limits."""
    monkeypatch.setattr("rehydrate.staging.paths.MAX_COMPONENT", 3)
    with pytest.raises(UnsafeTargetError, match="UTF-16"):
        check_target(b"abcd", portable_names=True)


def test_text_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(UnsafeTargetError) as caught:
        check_target("a\ud800")
    assert caught.value.code == "name.encoding"


def test_message_names_the_thing_and_is_not_endless() -> None:
    with pytest.raises(UnsafeTargetError, match=r"'a/\.\./b' has a component") as caught:
        check_target(b"a/../b")
    assert len(str(caught.value)) < 100
    with pytest.raises(UnsafeTargetError) as caught:
        check_target(b"x" * 100_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"README", b"readme"),
        ("\u00c4".encode(), "a\u0308".encode()),
        ("stra\u00dfe".encode(), b"STRASSE"),
        ("\u212a".encode(), b"k"),
        (b"D/x", b"d/X"),
    ],
)
def test_names_that_some_file_system_takes_for_one_have_one_key(one: bytes, other: bytes) -> None:
    assert collision_key(one) == collision_key(other)


def test_other_names_have_other_keys() -> None:
    paths = [b"a", b"b", b"a/b", b"ab", b"\xff", b"\xfe", "\u00e4".encode()]
    assert len({collision_key(path) for path in paths}) == len(paths)


@pytest.mark.parametrize("path", [b"PROGRA~1", b"d/LONGNA~2.TXT", b"a~1"])
def test_short_alias(path: bytes) -> None:
    assert is_short_alias(path)


@pytest.mark.parametrize("path", [b"a~", b"~1", b"PROGRA~1/x", b"toolong~1", b"a~1.text", b"a.b~1"])
def test_no_short_alias(path: bytes) -> None:
    assert not is_short_alias(path)


@pytest.mark.parametrize(
    ("path", "text"),
    [(b"a", b"b"), (b"a/b/c", b"../../x"), (b"a/b", b".././x"), (b"a", b"b//c/"), (b"a/b", b"..")],
)
def test_link_stays_inside(path: bytes, text: bytes) -> None:
    assert stays_inside(path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"a", b""),
        (b"a", b"/etc"),
        (b"a", b".."),
        (b"a", b"../x"),
        (b"a/b", b"../../x"),
        (b"a/b", b"c/../../../x"),
        (b"a", b"x/../../other/x"),
        (b"a", b"b\0c"),
    ],
)
def test_link_leads_out(path: bytes, text: bytes) -> None:
    assert not stays_inside(path, text)
