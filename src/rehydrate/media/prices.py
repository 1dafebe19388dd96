"""The price table of archive tiers: what a thaw costs and how long it takes, as editable JSON.

Money is counted in millionths of the table's currency, in whole numbers; what is less is rounded
up. Prices and times change: the built-in table is a default to be edited. It holds list prices
of the providers' documents where they could be read, the numbers in ``DEFAULT_TABLE`` marked (u) in
a note are commonly quoted and unconfirmed.
"""

from decimal import Decimal
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, RequestError
from rehydrate.strict_json import Fields, load

__all__ = ["DEFAULT_TABLE", "MICRO", "Offer", "PriceTable", "parse_table"]

MICRO: Final = 1_000_000
"""Millionths in a unit of the currency."""
MAX_TEXT: Final = 1 << 20
MAX_OFFERS: Final = 1000
MAX_NUMBER: Final = 10**15
MAX_WORDS: Final = 1000

DEFAULT_TABLE: Final = """{
 "currency": "USD",
 "gigabyte": 1000000000,
 "offers": [
  {"tier": "s3-glacier-flexible", "speed": "expedited", "quick_s": 60, "slow_s": 300,
   "per_gigabyte": 0.03, "per_thousand": 10, "kept_per_gigabyte_month": 0.023,
   "bytes_per_hour": 1080000000000, "minimum_days": 90, "overhead_bytes": 40000,
   "note": "can be refused; above 250 MB about 300 MB/s; requests and storage of copies (u)"},
  {"tier": "s3-glacier-flexible", "speed": "standard", "quick_s": 10800, "slow_s": 18000,
   "per_gigabyte": 0.01, "per_thousand": 0.05, "kept_per_gigabyte_month": 0.023,
   "minimum_days": 90, "overhead_bytes": 40000, "note": "requests and storage of copies (u)"},
  {"tier": "s3-glacier-flexible", "speed": "bulk", "quick_s": 18000, "slow_s": 43200,
   "per_gigabyte": 0, "per_thousand": 0, "kept_per_gigabyte_month": 0.023,
   "minimum_days": 90, "overhead_bytes": 40000, "note": "requests and storage of copies (u)"},
  {"tier": "s3-deep-archive", "speed": "standard", "quick_s": 0, "slow_s": 43200,
   "per_gigabyte": 0.02, "per_thousand": 0.10, "kept_per_gigabyte_month": 0.023,
   "minimum_days": 180, "overhead_bytes": 40000, "note": "requests and storage of copies (u)"},
  {"tier": "s3-deep-archive", "speed": "bulk", "quick_s": 0, "slow_s": 172800,
   "per_gigabyte": 0.0025, "per_thousand": 0.025, "kept_per_gigabyte_month": 0.023,
   "minimum_days": 180, "overhead_bytes": 40000, "note": "requests and storage of copies (u)"},
  {"tier": "azure-archive", "speed": "high", "quick_s": 0, "slow_s": 3600,
   "per_gigabyte": 0.1, "per_thousand": 5, "kept_per_gigabyte_month": 0.0184,
   "bytes_per_hour": 10737418240, "minimum_days": 180,
   "note": "blobs below 10 GB; about 10 GiB an hour and account; all prices (u)"},
  {"tier": "azure-archive", "speed": "standard", "quick_s": 0, "slow_s": 54000,
   "per_gigabyte": 0.02, "per_thousand": 0.5, "kept_per_gigabyte_month": 0.0184,
   "minimum_days": 180, "note": "blobs below 10 GB; all prices (u)"},
  {"tier": "gcs-archive", "speed": "none", "thaws": false, "quick_s": 0, "slow_s": 0,
   "per_gigabyte": 0.05, "per_thousand": 0.05, "kept_per_gigabyte_month": 0,
   "minimum_days": 365, "note": "readable at once, for a fee; all prices (u)"}
 ]
}
"""


@attrs.frozen
class Offer:
    """One way to thaw objects of one tier.

    Attributes:
        tier: Name of the tier, such as ``"s3-deep-archive"``.
        speed: Name of the way: ``"expedited"``, ``"standard"``, ``"bulk"``, ``"high"``, ``"none"``.
        quick_s: Seconds from the request to the copy at the earliest.
        slow_s: The same at the latest.
        per_gigabyte: Millionths for each gigabyte thawed.
        per_thousand: Millionths for a thousand requests.
        kept_per_gigabyte_month: Millionths for a gigabyte of thawed copies in 30 days.
        bytes_per_hour: Most bytes thawed in an hour; ``None`` if no limit is known.
        minimum_bytes: An object is billed as at least so many bytes.
        minimum_days: Days for which an object is billed in the tier.
        overhead_bytes: Bytes billed for each object besides, in the tier.
        thaws: Objects have to be thawed before they can be read.
        note: For people.
    """

    tier: str
    speed: str
    quick_s: int
    slow_s: int
    per_gigabyte: int
    per_thousand: int
    kept_per_gigabyte_month: int
    bytes_per_hour: int | None = None
    minimum_bytes: int = 0
    minimum_days: int = 0
    overhead_bytes: int = 0
    thaws: bool = True
    note: str = ""


@attrs.frozen
class PriceTable:
    """Offers with their prices.

    Attributes:
        currency: What prices are in.
        gigabyte: Bytes of a gigabyte in the prices.
        offers: All offers.
    """

    currency: str
    gigabyte: int
    offers: tuple[Offer, ...]

    def offer(self, tier: str, speed: str) -> Offer:
        """Return one offer.

        Args:
            tier: Name of the tier.
            speed: Name of the way.

        Raises:
            RequestError: With code ``"thaw.offer"``; the message names those that there are.
        """
        for offer in self.offers:
            if (offer.tier, offer.speed) == (tier, speed):
                return offer
        there = sorted(f"{offer.tier}/{offer.speed}" for offer in self.offers)
        raise RequestError(f"no price for {tier}/{speed}; there are {', '.join(there)}",
                           code="thaw.offer")  # fmt: skip

    def money(self, millionths: int) -> str:
        """Return an amount for people, such as ``"10.05 USD"`` or ``"0.0107 USD"``.

        It is rounded up to hundredths, and below one unit to ten thousandths.

        Args:
            millionths: The amount.
        """
        if millionths % 10_000 and millionths < MICRO - 10_000:
            return f"0.{-(-millionths // 100):04} {self.currency}"
        cents = -(-millionths // 10_000)
        return f"{cents // 100}.{cents % 100:02} {self.currency}"


def _wrong(what: str) -> CorruptMetadataError:
    return CorruptMetadataError(f"the price table {what}", code="thaw.prices")


def parse_table(text: str = DEFAULT_TABLE) -> PriceTable:
    """Read a price table.

    Args:
        text: JSON as in ``DEFAULT_TABLE``; unknown fields, missing ones, wrong types, and
            amounts finer than a millionth are refused.

    Raises:
        CorruptMetadataError: With code ``"thaw.prices"``.
    """
    if len(text) > MAX_TEXT:
        raise _wrong("is too long")
    table = _Fields(load(text, _wrong, parse_float=Decimal), "the table", _wrong)
    offers = table.items("offers")
    if not 1 <= len(offers) <= MAX_OFFERS:
        raise _wrong("has no offers, or too many")
    parsed = PriceTable(
        currency=table.words("currency"),
        gigabyte=table.amount("gigabyte", least=1),
        offers=tuple(
            _offer(_Fields(one, f"offer {number}", _wrong)) for number, one in enumerate(offers)
        ),
    )
    table.done()
    names = [(offer.tier, offer.speed) for offer in parsed.offers]
    if len(set(names)) != len(names):
        raise _wrong("has an offer twice")
    return parsed


def _offer(fields: "_Fields") -> Offer:
    rate = fields.amount("bytes_per_hour", default=0)
    offer = Offer(
        tier=fields.words("tier"),
        speed=fields.words("speed"),
        quick_s=fields.amount("quick_s"),
        slow_s=fields.amount("slow_s"),
        per_gigabyte=fields.money("per_gigabyte"),
        per_thousand=fields.money("per_thousand"),
        kept_per_gigabyte_month=fields.money("kept_per_gigabyte_month"),
        bytes_per_hour=rate or None,
        minimum_bytes=fields.amount("minimum_bytes", default=0),
        minimum_days=fields.amount("minimum_days", default=0),
        overhead_bytes=fields.amount("overhead_bytes", default=0),
        thaws=fields.flag("thaws", default=True),
        note=fields.words("note", default=""),
    )
    fields.done()
    if offer.slow_s < offer.quick_s:
        raise _wrong(f"has {offer.tier}/{offer.speed} later at the earliest than at the latest")
    return offer


class _Fields(Fields):
    """The fields of one object of the table: names and notes, amounts, and numbers of people."""

    def words(self, name: str, default: str | None = None) -> str:
        return self.text(name, least=0, most=MAX_WORDS, default=default)

    def amount(self, name: str, *, least: int = 0, default: int | None = None) -> int:
        return self.number(name, least=least, most=MAX_NUMBER, default=default)

    def money(self, name: str) -> int:
        value = self.take(name)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self.unusable(name)
        if not 0 <= value <= MAX_NUMBER:
            raise self.unusable(name)
        millionths = Decimal(value) * MICRO
        if millionths != int(millionths):
            raise _wrong(f"has {self.what} with a {name!r} finer than a millionth")
        return int(millionths)
