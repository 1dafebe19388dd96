import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehydrate.errors import CorruptMetadataError
from rehydrate.media import media_file
from rehydrate.media.media_file import MAX_PIECES, Piece, parse_media
from rehydrate.media.segments import UNKNOWN
from rehydrate.values import MAX_OFFSET

VOLUME = {"name": "A", "generation": "LTO-9"}


def text(*pieces: object, volumes: object = None, **more: object) -> str:
    content = {
        "format": "rehydrate-media",
        "version": 1,
        "volumes": [VOLUME] if volumes is None else volumes,
        "pieces": list(pieces),
    }
    return json.dumps(content | more)


def piece(**more: object) -> dict[str, Any]:
    return {"container": "Data/1", "volume": "A", "start": 10, "length": 100} | more


def test_pieces_cover_a_container() -> None:
    found = parse_media(text(piece(offset=500, partition=1), piece(offset=200)))
    assert found.pieces("Data/1") == (
        Piece(0, 200),
        Piece(200, 300, 0, 0, 10),
        Piece(300, 500),
        Piece(500, 600, 0, 1, 10),
        Piece(600, MAX_OFFSET),
    )
    assert found.piece_at("Data/1", 299).start == 10
    assert found.piece_at("Data/1", 300).volume == UNKNOWN
    assert found.pieces("Data/2") == (Piece(0, MAX_OFFSET),)


def test_a_piece_without_length_goes_to_the_end() -> None:
    (found,) = parse_media(text({"container": "c", "volume": "A"})).pieces("c")
    assert found == Piece(0, MAX_OFFSET, 0, 0, UNKNOWN)


def test_patterns_name_volumes_and_the_first_one_that_fits_counts() -> None:
    volumes = [VOLUME, {"name": "B", "generation": "generic"}]
    found = parse_media(
        text(
            {"pattern": "Data/1*", "volume": "B"},
            {"pattern": "Data/*", "volume": "A"},
            piece(container="Data/12"),
            volumes=volumes,
        )
    )
    assert [found.pieces(path)[0].volume for path in ("Data/1x", "Data/2", "Stream/1")] == [
        1,
        0,
        UNKNOWN,
    ]
    assert found.pieces("Data/12")[0].start == 10


def test_what_is_known_of_a_volume_becomes_its_tape() -> None:
    ends = [[0, 0, 99], [1, 0, 199]]
    rows = [
        VOLUME | {"partitions": [1, 137], "block_size": 524288, "loaded": True},
        {"name": "B", "generation": "LTO-8", "wrap_ends": ends, "block_size": 1000},
        {"name": "C", "generation": "LTO-10"},
        {"name": "D", "generation": "LTO-9"},
        {"name": "E", "generation": "generic"},
    ]
    found = parse_media(text(volumes=rows, drives=2))
    first, second, third, silent, last = found.volumes
    assert first.loaded
    assert first.tape.geometry is not None
    assert set(first.tape.geometry.partition.tolist()) == {0, 1}
    assert first.tape.geometry.unit_bytes == 524288
    assert second.tape.geometry is not None
    assert (second.tape.geometry.reported, second.tape.geometry.capacity) == (True, 200)
    assert (third.tape.geometry, third.tape.model is None) == (None, False)
    # Nobody said that wraps have their native size: they are not taken to have it.
    assert (silent.tape.geometry, silent.tape.model is None) == (None, False)
    assert (last.kind, last.tape.model, found.drives) == ("generic", None, 2)


@pytest.mark.parametrize(
    ("given_text", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"format": NaN}', "NaN, which is no number"),
        ('{"a": 1, "a": 2}', "names a field twice"),
        ("[]", "the file that is no object"),
        (text(format="other"), "of another format"),
        (text(version=2), "of another version"),
        (text(version=True), "without a usable 'version'"),
        (text(more=1), "the file with unknown fields: 'more'"),
        (text(drives=0), "without a usable 'drives'"),
        (text(volumes=[]), "has no volumes"),
        (text(volumes={}), "without a usable 'volumes'"),
        (text(volumes=[VOLUME, VOLUME]), "two volumes of one name"),
        (text(volumes=[VOLUME | {"name": "\n"}]), "volume 0 without a usable 'name'"),
        (text(volumes=[VOLUME | {"generation": "LTO-4"}]), "of no known generation"),
        (text(volumes=[VOLUME | {"loaded": 1}]), "without a usable 'loaded'"),
        (text(volumes=[VOLUME | {"x": 1}]), "volume 0 with unknown fields: 'x'"),
        (text(volumes=[VOLUME | {"partitions": [1, 9999]}]), "cannot be: partitions of"),
        (text(volumes=[VOLUME | {"partitions": [0]}]), "without a usable 'partitions'"),
        (text(volumes=[VOLUME | {"wrap_ends": [[0, 0]]}]), "no [wrap, partition, last]"),
        (text(volumes=[VOLUME | {"wrap_ends": [[0, 0, 9], [1, 0, 9]]}]), "do not ascend"),
        (
            text(volumes=[VOLUME | {"wrap_ends": [[0, 0, 9]], "partitions": [1]}]),
            "both partitions and wrap_ends",
        ),
        (
            text(volumes=[{"name": "A", "generation": "generic", "partitions": [1]}]),
            "which is generic",
        ),
        (
            text(volumes=[{"name": "A", "generation": "LTO-10", "partitions": [1]}]),
            "wraps of LTO-10 are not known",
        ),
        (
            text(volumes=[VOLUME | {"loaded": True}, VOLUME | {"name": "B", "loaded": True}]),
            "more volumes loaded than drives",
        ),
        (text(1), "piece 0 that is no object"),
        (text(piece(volume="Z")), "on 'Z', which is none of its volumes"),
        (text(piece(length=0)), "without a usable 'length'"),
        (text(piece(start=-2)), "without a usable 'start'"),
        (text(piece(start=MAX_OFFSET - 5)), "that ends beyond"),
        (text(piece(), piece(offset=99)), "overlap at byte 99"),
        (text({"volume": "A"}), "without a usable 'container'"),
        (text({"pattern": "x", "volume": "A", "start": 1}), "unknown fields: 'start'"),
        (text(*(piece(offset=n * 100) for n in range(MAX_PIECES))), "more than 64 pieces"),
        (text(*(piece(offset=n * 200) for n in range(MAX_PIECES // 2 + 1))), "gaps between them"),
    ],
)
def test_what_is_wrong_is_said(given_text: str, message: str) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        parse_media(given_text)
    assert caught.value.code == "media.file"
    assert message in caught.value.message


def test_a_text_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_file, "MAX_TEXT", 10)
    with pytest.raises(CorruptMetadataError, match="too long"):
        parse_media(text())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "name",
        "generation",
        "partitions",
        "wrap_ends",
        "block_size",
        "loaded",
        "container",
        "pattern",
        "volume",
        "partition",
        "start",
        "offset",
        "length",
    ]
)
ROWS = st.lists(st.dictionaries(FIELDS, JSON, max_size=4), max_size=3)


@given(ROWS, ROWS, JSON)
def test_whatever_it_holds_the_error_is_typed(
    volumes: list[Any], pieces: list[Any], drives: object
) -> None:
    rows = [VOLUME | row for row in volumes]
    try:
        found = parse_media(text(*map(piece_with, pieces), volumes=rows, drives=drives))
    except CorruptMetadataError:
        return
    assert found.volumes


def piece_with(row: dict[str, Any]) -> dict[str, Any]:
    return piece(**row)


def test_a_container_has_as_many_pieces_as_an_order_may_have_of_it() -> None:
    pieces = [piece(offset=n * 100) for n in range(MAX_PIECES - 1)]
    (path,) = {row["container"] for row in pieces}
    assert len(parse_media(text(*pieces)).pieces(str(path))) == MAX_PIECES


def test_patterns_are_looked_at_once_for_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def fits(path: str, pattern: str) -> bool:
        looked.append(pattern)
        return path.startswith(pattern)

    monkeypatch.setattr(media_file, "fnmatchcase", fits)
    found = parse_media(text({"pattern": "x", "volume": "A"}, {"pattern": "y", "volume": "A"}))
    assert [found.pieces(path)[0].volume for path in ("yes", "no", "yes", "no")] == [0, -1, 0, -1]
    assert looked == ["x", "y", "x", "y"]
