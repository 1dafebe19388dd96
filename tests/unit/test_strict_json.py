"""JSON from outside: what is refused, and that the reader's own error says why."""

from decimal import Decimal

import pytest

from rehydrate.errors import CorruptMetadataError
from rehydrate.strict_json import LONGEST_TEXT, Fields, load
from rehydrate.values import MAX_OFFSET


def wrong(what: str) -> CorruptMetadataError:
    return CorruptMetadataError(f"the list {what}", code="list.wrong")


def fields(text: str) -> Fields:
    return Fields(load(text, wrong), "row 7", wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON (line 1, column 1)"),
        ('{\n "a": ]', "is no JSON (line 2, column 7)"),
        (b"\xff\xff", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("9" * 5000, "is no JSON"),
        ("-Infinity", "has -Infinity, which is no number"),
        ('[{"x": {"a": 1, "a": 1}}]', "names a field twice"),
    ],
)
def test_what_is_no_json_is_refused_in_the_words_of_the_reader(
    text: str | bytes, message: str
) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        load(text, wrong)
    assert caught.value.message == f"the list {message}"
    assert caught.value.code == "list.wrong"


def test_numbers_are_made_as_asked_for() -> None:
    assert load("[0.1, 2]", wrong, parse_float=Decimal) == [Decimal("0.1"), 2]
    with pytest.raises(CorruptMetadataError, match="is no JSON"):
        load("1e99999999999999999999", wrong, parse_float=Decimal)
    with pytest.raises(CorruptMetadataError, match="is no JSON"):
        load("1.5", wrong, parse_float=int)


def test_fields_are_taken_once() -> None:
    row = fields('{"a": "x", "b": true, "c": 3, "d": [1], "e": null}')
    assert (row.has("a"), row.text("a"), row.has("a")) == (True, "x", False)
    assert (row.flag("b", default=False), row.number("c"), row.items("d")) == (True, 3, [1])
    with pytest.raises(CorruptMetadataError, match="row 7 with unknown fields: 'e'"):
        row.done()
    assert row.take("e", 5) is None
    row.done()


def test_defaults_stand_for_missing_fields() -> None:
    row = fields("{}")
    assert (row.text("a", default="-"), row.number("b", default=4)) == ("-", 4)
    assert (row.flag("c", default=True), row.items("d", [])) == (True, [])


@pytest.mark.parametrize("value", ["null", "1.0", "true", '"1"', "-1", str(MAX_OFFSET + 1), "[1]"])
def test_whole_numbers_in_range_only(value: str) -> None:
    with pytest.raises(CorruptMetadataError, match="row 7 without a usable 'n'"):
        fields(f'{{"n": {value}}}').number("n", default=1)


@pytest.mark.parametrize("value", ["null", "1", '""', r'"a\nb"', f'"{"a" * (LONGEST_TEXT + 1)}"'])
def test_texts_of_one_line_only(value: str) -> None:
    with pytest.raises(CorruptMetadataError, match="without a usable 't'"):
        fields(f'{{"t": {value}}}').text("t", default="a")


def test_other_types_are_refused() -> None:
    with pytest.raises(CorruptMetadataError, match="without a usable 'x'"):
        fields('{"x": 1}').flag("x", default=False)
    with pytest.raises(CorruptMetadataError, match="without a usable 'x'"):
        fields('{"x": {}}').items("x")
    with pytest.raises(CorruptMetadataError, match="has row 7 that is no object"):
        fields("[]")
