import random
import time
from typing import Any

import pytest

from rehydrate.catalogue.selection import Selection, split_list
from rehydrate.errors import RequestError
from rehydrate.formats.native.catalogue import tree_key

PATHS = sorted(
    [
        b"a", b"a/b", b"a/b/c.txt", b"a/b/d.txt", b"a/x.txt", b"a.b", b"ab", b"ab/c.txt",
        b"docs", b"docs/[1].txt", b"docs/1.txt", b"docs/\xff.bin", b"docs/\xc3\xa9.txt",
        b".hidden", b"z\n.txt",
    ],
    key=tree_key,
)  # fmt: skip


def chosen(*patterns: str | bytes, **named: Any) -> list[bytes]:
    selection = Selection.of(patterns, **named)
    found = [PATHS[index] for index in selection.choose(PATHS).indexes]
    prefixes = selection.prefixes
    for path in found:  # what the catalogue would read must hold all that is chosen
        assert not prefixes or any((path + b"/").startswith(p + b"/") for p in prefixes)
    return found


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a", [b"a", b"a/b", b"a/b/c.txt", b"a/b/d.txt", b"a/x.txt"]),
        ("/a/", [b"a", b"a/b", b"a/b/c.txt", b"a/b/d.txt", b"a/x.txt"]),
        ("./a/./b", [b"a/b", b"a/b/c.txt", b"a/b/d.txt"]),
        ("a.b", [b"a.b"]),
        ("a/*.txt", [b"a/x.txt"]),
        ("a*/c.txt", [b"ab/c.txt"]),
        ("*/c.txt", [b"ab/c.txt"]),
        ("**/c.txt", [b"a/b/c.txt", b"ab/c.txt"]),
        ("a/**/c.txt", [b"a/b/c.txt"]),
        ("a/**", [b"a/b", b"a/b/c.txt", b"a/b/d.txt", b"a/x.txt"]),
        ("a/**/**/d.txt", [b"a/b/d.txt"]),
        ("a?", [b"ab", b"ab/c.txt"]),
        ("a/?/[cd].txt", [b"a/b/c.txt", b"a/b/d.txt"]),
        ("a/b/[!c].txt", [b"a/b/d.txt"]),
        ("a/b/[^c].txt", [b"a/b/d.txt"]),
        ("a/b/[a-c].txt", [b"a/b/c.txt"]),
        ("a/b/[c-a].txt", []),
        ("a/b/[]c].txt", [b"a/b/c.txt"]),
        ("a[/]b", []),
        ("a[!x]b", [b"a.b"]),
        ("docs/[1].txt", [b"docs/1.txt", b"docs/[1].txt"]),
        ("docs/[[]1].txt", [b"docs/[1].txt"]),
        ("docs/[1.txt", []),
        ("docs/?.bin", [b"docs/\xff.bin"]),
        ("docs/?.txt", [b"docs/1.txt", b"docs/\xc3\xa9.txt"]),
        (b"docs/\xff.bin", [b"docs/\xff.bin"]),
        ("z*", [b"z\n.txt"]),
        ("***/c.txt", [b"ab/c.txt"]),
        (".hidden", [b".hidden"]),
        ("nothing", []),
    ],
)  # fmt: skip
def test_patterns(pattern: str | bytes, expected: list[bytes]) -> None:
    assert chosen(pattern) == sorted(expected, key=tree_key)


@pytest.mark.parametrize("pattern", ["/", ".", "**"])
def test_everything(pattern: str) -> None:
    assert chosen() == chosen(pattern) == PATHS


def test_excludes_take_away_from_what_is_chosen() -> None:
    assert chosen("a", excludes=["a/b/c.txt"]) == [b"a", b"a/b", b"a/b/d.txt", b"a/x.txt"]
    assert chosen("a", excludes=["**/*.txt"]) == [b"a", b"a/b"]
    assert chosen(excludes=["**"]) == []


def test_listed_paths_have_no_wildcards() -> None:
    assert chosen(paths=[b"docs/[1].txt", b"a/b/"]) == [
        b"a/b",
        b"a/b/c.txt",
        b"a/b/d.txt",
        b"docs/[1].txt",
    ]


def test_what_matches_nothing_is_named() -> None:
    selection = Selection.of(["a", "no*", "gone", "a/[z]"], paths=[b"lost"], excludes=["never"])
    assert selection.choose(PATHS).unmatched == ("no*", "gone", "a/[z]", "lost")


def test_prefixes_bound_what_is_read() -> None:
    assert Selection.of(["a/b/*.txt", "docs"]).prefixes == [b"a/b", b"docs"]
    assert Selection.of(["a/b", "*.txt"]).prefixes == []
    assert Selection.of().prefixes == []


@pytest.mark.parametrize("pattern", ["", "../a", "a/../b", "a\0b", "\ud800"])
def test_what_is_no_path_is_refused(pattern: str) -> None:
    with pytest.raises(RequestError):
        Selection.of([pattern])


def test_lists_of_paths() -> None:
    assert split_list(b"a\nb c\r\n\n d\n") == [b"a", b"b c", b" d"]
    assert split_list(b"a\nb\0c\0") == [b"a\nb", b"c"]
    assert split_list(b"") == []


def test_thirty_thousand_entries_are_quick() -> None:
    names = [b"d%02d/e%03d/file_%03d.dat" % (n % 40, n // 50, n % 50) for n in range(30_000)]
    paths = sorted(names, key=tree_key)
    listed = random.Random(1).sample(paths, 300)
    start = time.process_time()
    assert len(Selection.of(paths=listed).choose(paths).indexes) == 300
    assert len(Selection.of(["**/file_007.dat"]).choose(paths).indexes) == 600
    assert time.process_time() - start < 1.0
