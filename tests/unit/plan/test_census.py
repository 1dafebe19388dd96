import numpy as np
import pytest

from rehydrate.plan import census
from rehydrate.plan.census import Numbering, count_containers, stored_words
from rehydrate.plan.planner import find_needs
from tests.unit.plan.oracle import Row, check_needs, hole, table_of


def key(container: int, generation: int = 0) -> int:
    return generation << 32 | container


def test_rows_without_stored_bytes_are_not_selected() -> None:
    words = table_of([[Row(1, 8), hole(3), Row(2, 8)]]).rows.view("<u8").reshape(-1, 8)
    rows, chosen = stored_words(words, None, 1, 3)
    assert rows.tolist() == [2]
    assert chosen.shape == (1, 8)


def test_references_are_counted_over_many_blocks() -> None:
    rows = [Row(1 + at % 7, 8, generation=at % 2) for at in range(100)]
    words = table_of([rows]).rows.view("<u8").reshape(-1, 8)
    keys, counts = count_containers(words, None, 3)
    expected: dict[int, int] = {}
    for row in rows:
        name = key(row.container, row.generation)
        expected[name] = expected.get(name, 0) + 1
    assert dict(zip(keys.tolist(), counts.tolist(), strict=True)) == expected
    assert keys.tolist() == sorted(expected)


@pytest.mark.parametrize("limit", [pytest.param(0, id="search"), pytest.param(1 << 20, id="table")])
@pytest.mark.parametrize("generations", [1, 3])
def test_containers_are_numbered_with_and_without_a_table(
    limit: int, generations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "TABLE_LIMIT", limit)
    keys = np.array(
        sorted(key(container, age) for container in (7, 9, 12) for age in range(generations)),
        np.uint64,
    )
    numbering = Numbering(keys, None)
    numbers = numbering.numbers(keys[::-1])
    found = [numbering.containers[number] for number in numbers.tolist()]
    assert found == [(name & 0xFFFFFFFF, name >> 32) for name in keys[::-1].tolist()]


def test_a_wide_range_of_containers_takes_no_large_table() -> None:
    numbering = Numbering(np.array([1, 2**32 - 1], np.uint64), None)
    assert numbering.numbers(np.array([2**32 - 1, 1], np.uint64)).tolist() == [1, 0]
    assert len(numbering._table) == 0


def test_more_containers_than_a_radix_are_sorted_in_two_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = census.RADIX + 500
    numbering = Numbering(np.arange(1, count + 1, dtype=np.uint64), None)
    mixed = np.random.default_rng(1).permutation(count).astype(np.uint32)
    numbers = np.concatenate((mixed, mixed))
    order = numbering.sort(numbers)
    assert (numbers[order] == np.repeat(np.arange(count), 2)).all()
    assert (order[0::2] < order[1::2]).all(), "equal ones keep their order"


def test_needs_in_more_containers_than_a_radix() -> None:
    count = census.RADIX + 5
    mixed = np.random.default_rng(2).permutation(count)[:3000].tolist()
    chosen = [0, count - 1, *mixed, *mixed[:50]]
    everything = table_of([[Row(container + 1, 8)] for container in range(count)])
    assert len(find_needs(everything)) == count
    table = table_of([[Row(container + 1, 8)] for container in chosen])
    check_needs(table, None, find_needs(table))
