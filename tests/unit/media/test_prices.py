"""The price table: the built-in one, and texts that are none."""

import json

import pytest

from rehydrate.errors import CorruptMetadataError, RequestError
from rehydrate.media.prices import DEFAULT_TABLE, parse_table

OFFER = {"tier": "t", "speed": "s", "quick_s": 1, "slow_s": 2, "per_gigabyte": 0.01,
         "per_thousand": 0.05, "kept_per_gigabyte_month": 0}  # fmt: skip


def text(offer: dict[str, object] | None = None, **table: object) -> str:
    whole = {"currency": "EUR", "gigabyte": 1000, "offers": [OFFER | (offer or {})], **table}
    return json.dumps(whole)


def test_built_in_table_has_the_published_offers() -> None:
    table = parse_table()
    names = [(offer.tier, offer.speed) for offer in table.offers]
    assert len(names) == 8
    standard = table.offer("s3-glacier-flexible", "standard")
    assert (standard.per_gigabyte, standard.per_thousand) == (10_000, 50_000)
    assert (standard.quick_s, standard.slow_s) == (3 * 3600, 5 * 3600)
    assert table.offer("s3-deep-archive", "bulk").per_gigabyte == 2_500
    assert not table.offer("gcs-archive", "none").thaws


def test_every_unconfirmed_price_is_marked() -> None:
    assert all("(u)" in offer.note for offer in parse_table().offers)


def test_an_offer_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(RequestError, match="s3-deep-archive/bulk") as caught:
        parse_table().offer("s3-deep-archive", "expedited")
    assert caught.value.code == "thaw.offer"


def test_amounts_are_rounded_up_for_people() -> None:
    table = parse_table(text())
    assert [table.money(amount) for amount in (0, 1, 10_050_000, 999_999)] == [
        "0.00 EUR", "0.0001 EUR", "10.05 EUR", "1.00 EUR"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param("", id="empty"),
        pytest.param("[" * 100_000, id="deep"),
        pytest.param(" " * (1 << 20) + "1", id="long"),
        pytest.param("[]", id="list"),
        pytest.param(text().replace("0.01", "NaN"), id="nan"),
        pytest.param(text().replace("0.01", "1e999999999999999999999"), id="exponent"),
        pytest.param(text().replace("0.01", "1e99"), id="huge"),
        pytest.param(text().replace("0.01", "1e-999999"), id="tiny"),
        pytest.param(text().replace("0.01", "0.0000001"), id="finer than a millionth"),
        pytest.param(text().replace("0.01", "9" * 5000), id="digits"),
        pytest.param(text({"per_gigabyte": -1}), id="negative"),
        pytest.param(text({"per_gigabyte": "1"}), id="string"),
        pytest.param(text({"per_gigabyte": True}), id="bool"),
        pytest.param(text({"quick_s": 1.5}), id="fraction"),
        pytest.param(text({"quick_s": 3}), id="later than the latest"),
        pytest.param(text({"quick_s": -1}), id="negative time"),
        pytest.param(text({"thaws": 1}), id="no flag"),
        pytest.param(text({"extra": 1}), id="unknown field"),
        pytest.param(text({"tier": "a\nb"}), id="not printable"),
        pytest.param(text({"tier": "a" * 1001}), id="long name"),
        pytest.param(text({"tier": None}), id="null"),
        pytest.param(text(offers=[]), id="no offers"),
        pytest.param(text(offers=[OFFER, OFFER]), id="twice"),
        pytest.param(text(offers=[1]), id="offer is no object"),
        pytest.param(text(offers={}), id="offers are no list"),
        pytest.param(text(gigabyte=0), id="gigabyte"),
        pytest.param(text(more=1), id="unknown field of the table"),
        pytest.param(text().replace('"speed":', '"speed": "x", "speed":'), id="field twice"),
    ],
)
def test_texts_that_are_no_table(wrong: str) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        parse_table(wrong)
    assert caught.value.code == "thaw.prices"


def test_the_built_in_text_can_be_edited() -> None:
    edited = DEFAULT_TABLE.replace('"per_gigabyte": 0.02', '"per_gigabyte": 0.5', 1)
    assert parse_table(edited).offer("s3-deep-archive", "standard").per_gigabyte == 500_000
