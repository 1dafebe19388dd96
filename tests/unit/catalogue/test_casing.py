"""Names are compared by UTF-16 unit through the table of the volume, whatever the table says."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehydrate.catalogue.casing import Casing, decode_name, slashed
from rehydrate.catalogue.selection import Selection
from rehydrate.errors import CorruptMetadataError

ANY = st.text(st.characters(exclude_categories=()), max_size=12)
NAMES = st.text("aAbBzZ09/*?[]\\ßéÉǅ\ud800\udc00\udfff😀𐐨", max_size=12)


def usual() -> npt.NDArray[np.uint16]:
    """Return a table as a volume has it: simple upper case of single units."""
    table = np.arange(0x10000, dtype=np.uint16)
    for unit in range(0x10000):
        upper = chr(unit).upper()
        if not 0xD800 <= unit < 0xE000 and len(upper) == 1 and ord(upper) < 0x10000:
            table[unit] = ord(upper)
    return table


USUAL = usual()
PLAIN = Casing(USUAL)
HOSTILE = np.random.default_rng(1).permutation(np.arange(0x10000, dtype=np.uint16))
for _unit, _upper in ("b/", "Z*", "é[", "ß\0", "/x", "*y", "aé"):
    HOSTILE[ord(_unit)] = ord(_upper)


def units_of(text: str) -> list[int]:
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), "<u2")
    return [int(unit) for unit in units]


def is_letter(unit: int) -> bool:
    return unit >= 0x80 or chr(unit).isalpha()


def reference(text: str, table: npt.NDArray[np.uint16]) -> list[int]:
    """Map unit by unit, letters to letters."""
    mapped = []
    for unit in units_of(text):
        upper = int(table[unit])
        mapped.append(upper if is_letter(unit) and is_letter(upper) else unit)
    return mapped


@pytest.mark.parametrize("table", [USUAL, HOSTILE], ids=["usual", "hostile"])
@given(text=ANY | NAMES)
def test_folds_as_the_reference_does(table: npt.NDArray[np.uint16], text: str) -> None:
    assert units_of(Casing(table).fold(text)) == reference(text, table)


@pytest.mark.parametrize("table", [USUAL, HOSTILE], ids=["usual", "hostile"])
@given(one=NAMES, other=NAMES)
def test_two_names_are_equal_as_in_the_reference(
    table: npt.NDArray[np.uint16], one: str, other: str
) -> None:
    fold = Casing(table).fold
    same = reference(one, table) == reference(other, table)
    assert (fold(one) == fold(other)) == same


def test_no_rule_of_unicode_is_applied() -> None:
    fold = PLAIN.fold
    assert fold("straße") != fold("STRASSE")
    assert fold("é") != fold("e\u0301")
    assert fold("übersicht") == fold("ÜBERSICHT")
    assert fold("𐐨") != fold("𐐀"), "outside of the first 65,536 nothing is folded"


def test_halves_side_by_side_are_one_character() -> None:
    assert PLAIN.fold("\ud83d\ude00") == PLAIN.fold("😀")


@given(text=ANY)
def test_paths_come_back_from_text(text: str) -> None:
    path = text.encode("utf-8", "surrogatepass")
    assert decode_name(path).encode("utf-8", "surrogatepass") == path


def test_bytes_that_are_no_text_come_back_too() -> None:
    assert decode_name(b"a\xff/b").encode("utf-8", "surrogateescape") == b"a\xff/b"


def test_a_table_of_another_size_is_refused() -> None:
    with pytest.raises(CorruptMetadataError, match="128 units"):
        Casing(np.zeros(128, np.uint16))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Shares\\Finance\\*.xlsx", "Shares/Finance/*.xlsx"),
        ("E:\\Shares", "/Shares"),
        ("e:/Shares", "/Shares"),
        ("E:", "/"),
        ("E:\\", "/"),
        ("\\\\?\\E:\\x", "/x"),
        ("\\\\.\\Volume{01234567-89ab-cdef-0123-456789abcdef}\\x", "/x"),
        ("Volume{01234567-89ab-cdef-0123-456789abcdef}/x", "/x"),
        ("name:stream", "name:stream"),
        ("EX:\\a", "EX:/a"),
        ("E:x", "E:x"),
        ("", ""),
    ],
)
def test_windows_paths_become_ours(path: str, expected: str) -> None:
    assert slashed(path) == expected


PATHS = [
    path.encode()
    for path in ("A", "A/Übersicht.TXT", "A/b.txt", "B", "B/a.TXT", "_", "a", "a/b.txt", "é")
]


def taken(
    *patterns: str, excludes: tuple[str, ...] = (), paths: tuple[bytes, ...] = ()
) -> set[str]:
    selection = Selection.of(patterns, excludes=excludes, paths=paths, fold=PLAIN.fold)
    found = selection.choose(PATHS)
    assert found.indexes.tolist() == sorted(found.indexes.tolist())
    return {PATHS[index].decode() for index in found.indexes.tolist()}


def test_selection_folds_patterns_paths_and_excludes() -> None:
    assert taken("a") == {"A", "A/Übersicht.TXT", "A/b.txt", "a", "a/b.txt"}
    assert taken("**/*.txt") == {"A/Übersicht.TXT", "A/b.txt", "B/a.TXT", "a/b.txt"}
    assert taken("a/[u-ü]*") == {"A/Übersicht.TXT"}
    assert taken("a", excludes=("A/B*",)) == {"A", "A/Übersicht.TXT", "a"}
    assert taken(paths=("a/üBERSICHT.txt".encode(),)) == {"A/Übersicht.TXT"}
    assert taken("É") == {"é"}
    assert taken("/") == {path.decode() for path in PATHS}


def test_prefixes_keep_their_spelling_and_misses_are_named_as_given() -> None:
    selection = Selection.of(["sHARES/x*", "Docs"], fold=PLAIN.fold)
    assert selection.prefixes == [b"sHARES", b"Docs"]
    assert selection.choose(PATHS).unmatched == ("sHARES/x*", "Docs")


def test_a_surrogate_in_a_listed_path_is_found() -> None:
    path = "x\ud800".encode("utf-8", "surrogatepass")
    selection = Selection.of(paths=[path.upper()], fold=PLAIN.fold)
    assert selection.choose([b"a", path]).indexes.tolist() == [1]


@given(
    st.lists(st.text("aAbB/é", min_size=1, max_size=5), max_size=8), st.text("aAbB*?é", min_size=1)
)
def test_a_fold_chooses_what_folded_paths_and_patterns_choose(
    names: list[str], pattern: str
) -> None:
    paths = [b"/".join(part for part in name.encode().split(b"/") if part) for name in names]
    paths = list(dict.fromkeys(path for path in paths if path))
    folded = [PLAIN.fold(path.decode()).encode() for path in paths]
    order = sorted(range(len(paths)), key=lambda index: folded[index].replace(b"/", b"\0"))
    exact = Selection.of([PLAIN.fold(pattern)]).choose([folded[index] for index in order])
    found = Selection.of([pattern], fold=PLAIN.fold).choose(paths)
    assert found.indexes.tolist() == sorted(order[index] for index in exact.indexes.tolist())
