from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehydrate.catalogue.windows_metadata.attributes import (
    attribute_names,
    mode_of,
    nanoseconds,
    ordinary_attributes,
    utc_text,
)
from tests.unit.catalogue.windows_metadata.volumes import MODIFIED, entry


def test_attributes_of_a_stub_do_not_belong_to_the_restored_file() -> None:
    stub = 0x20 | 0x200 | 0x400 | 0x1000 | 0x40000 | 0x400000
    assert ordinary_attributes(entry(attributes=stub)) == 0x20
    assert ordinary_attributes(entry(attributes=0x80)) == 0
    assert ordinary_attributes(entry(attributes=0x12, directory=True)) == 0x02
    assert ordinary_attributes(entry(attributes=0x8_A927)) == 0x8_A927


def test_every_bit_has_a_name_or_a_number() -> None:
    assert attribute_names(0x0080_0027) == ("READONLY", "HIDDEN", "SYSTEM", "ARCHIVE", "0x800000")
    assert attribute_names(0) == ()


@pytest.mark.parametrize(
    ("attributes", "directory", "mode"),
    [(0, False, 0o644), (1, False, 0o444), (0x10, True, 0o755), (0x11, True, 0o755)],
)
def test_read_only_takes_the_right_to_write_from_files(
    attributes: int, mode: int, *, directory: bool
) -> None:
    assert mode_of(entry(attributes=attributes, directory=directory)) == mode


def test_times_are_exact_to_their_unit() -> None:
    assert nanoseconds(MODIFIED) == 1_577_836_800_123_456_700
    assert nanoseconds(116_444_736_000_000_000) == 0
    assert utc_text(MODIFIED) == "2020-01-01T00:00:00.1234567Z"
    assert utc_text(1) == "1601-01-01T00:00:00.0000001Z"


def test_unknown_and_impossible_times_are_none() -> None:
    assert nanoseconds(0) is None
    assert utc_text(0) is None
    assert nanoseconds(1) is None  # 1601 in nanoseconds does not fit 64 bits
    assert nanoseconds(2**64 - 1) is None
    assert utc_text(2**64 - 1) is None
    assert utc_text(2_650_467_744_000_000_000) is None  # the first moment of the year 10000


@given(st.integers(min_value=1, max_value=2_650_467_743_999_999_999))
def test_text_and_nanoseconds_say_the_same(filetime: int) -> None:
    text = utc_text(filetime)
    assert text is not None
    whole = datetime.fromisoformat(text[:19]).replace(tzinfo=UTC) - datetime(1601, 1, 1, tzinfo=UTC)
    seconds = whole.days * 86400 + whole.seconds
    assert seconds * 10**7 + int(text[20:27]) == filetime
    value = nanoseconds(filetime)
    assert value is None or value // 100 + 116_444_736_000_000_000 == filetime
