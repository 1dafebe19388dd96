import itertools

import numpy as np
import pytest

from rehydrate.chunks import ROW_DTYPE, ChunkTable
from rehydrate.errors import CorruptMetadataError
from rehydrate.plan.planner import find_needs
from rehydrate.values import MAX_OFFSET
from tests.unit.plan.oracle import Row, check_needs, hole, table_of, zeros


def test_no_rows_need_nothing() -> None:
    needs = find_needs(table_of([]))
    assert len(needs) == 0
    assert needs.containers == ()
    assert needs.use_ptr.tolist() == [0]
    assert needs.container_ptr().tolist() == [0]


def test_zeros_and_holes_need_nothing() -> None:
    needs = find_needs(table_of([[zeros(10), hole(5)], []]))
    assert len(needs) == 0


def test_equal_references_are_one_need_with_all_its_uses() -> None:
    a, b = Row(1, 8), Row(1, 40)
    needs = find_needs(table_of([[a, b, a], [b], [a]]))
    assert needs.offset.tolist() == [8, 40]
    assert needs.row.tolist() == [0, 1]
    assert needs.use_ptr.tolist() == [0, 3, 5]
    assert needs.use_row.tolist() == [0, 2, 4, 1, 3]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Row(2, 8), id="container"),
        pytest.param(Row(1, 8, generation=1), id="generation"),
        pytest.param(Row(1, 16), id="offset"),
        pytest.param(Row(1, 8, length=11), id="length"),
        pytest.param(Row(1, 8, local_id=1), id="local id"),
        pytest.param(Row(1, 8, size=99), id="logical size"),
        pytest.param(Row(1, 8, digest=1), id="digest, first word"),
    ],
)
def test_references_that_differ_in_one_field_are_needs_of_their_own(other: Row) -> None:
    one = Row(1, 8)
    table = table_of([[one, other], [other], [one]])
    needs = find_needs(table)
    assert len(needs) == 2
    check_needs(table, None, needs)


@pytest.mark.parametrize("word", range(4))
def test_every_byte_of_the_digest_counts(word: int) -> None:
    table = table_of([[Row(1, 8), Row(1, 8)]])
    digest = bytearray(32)
    digest[8 * word + 5] = 1
    table.rows[1] = (*table.rows[1].tolist()[:-1], bytes(digest))
    assert len(find_needs(table)) == 2


def test_the_first_row_of_a_file_begins_at_its_own_zero() -> None:
    table = table_of([[Row(1, 8, size=70)], [], [Row(1, 8, size=100)], [Row(1, 8, size=70)]])
    check_needs(table, None, find_needs(table))


def test_conflicting_claims_do_not_part_equal_ones() -> None:
    claims = [Row(1, 8, digest=digest) for digest in (1, 2, 1, 3, 2, 1)]
    table = table_of([[Row(1, 0)], *([claim] for claim in claims), [Row(1, 32)]])
    needs = find_needs(table)
    assert needs.offset.tolist() == [0, 8, 8, 8, 32]
    check_needs(table, None, needs)


def test_blocks_end_between_places_so_that_conflicting_claims_stay_together() -> None:
    claims = [Row(1, offset, digest=digest) for offset in (8, 40, 72) for digest in (2, 1, 2)]
    table = table_of([[claim] for claim in claims])
    check_needs(table, None, find_needs(table, block=4))


def test_a_place_with_more_claims_than_a_block_still_has_every_use_once() -> None:
    claims = [Row(1, 8, digest=digest % 3) for digest in range(50)]
    table = table_of([[claim] for claim in claims])
    needs = find_needs(table, block=4)
    assert sorted(needs.use_row.tolist()) == list(range(50))
    for index in range(len(needs)):
        uses = needs.use_row[needs.use_ptr[index] : needs.use_ptr[index + 1]]
        assert {claims[use].digest for use in uses.tolist()} == {claims[needs.row[index]].digest}


def test_a_place_with_more_uses_than_a_block_is_one_need() -> None:
    table = table_of([[Row(1, 8)] for _ in range(50)])
    needs = find_needs(table, block=4)
    assert needs.use_ptr.tolist() == [0, 50]


def test_only_wanted_rows_count() -> None:
    table = table_of([[Row(1, 8), Row(2, 8), Row(1, 40)], [Row(1, 8)]])
    wanted = np.array([False, False, True, True])
    needs = find_needs(table, wanted)
    assert needs.containers == ((1, 0),)
    check_needs(table, wanted, needs)


def test_containers_come_in_the_order_of_the_caller() -> None:
    table = table_of([[Row(9, 8), Row(10, 8), Row(11, 8, generation=2), Row(11, 8, generation=1)]])
    paths = {(9, 0): "9", (10, 0): "10", (11, 1): "11", (11, 2): "11"}
    needs = find_needs(table, sort_key=paths.__getitem__)
    assert needs.containers == ((10, 0), (11, 1), (11, 2), (9, 0))
    assert needs.row.tolist() == [1, 3, 2, 0]
    assert find_needs(table).containers == ((9, 0), (10, 0), (11, 1), (11, 2))


def test_needs_of_each_container_are_found_by_pointer() -> None:
    needs = find_needs(table_of([[Row(4, 8), Row(2, 8), Row(4, 40), Row(3, 8)]]))
    assert needs.container_ptr().tolist() == [0, 1, 2, 4]


EXTREME_OFFSETS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, MAX_OFFSET - 10)


@pytest.mark.parametrize("block", [2, 3, 64])
def test_offsets_of_all_sizes_are_sorted(block: int) -> None:
    offsets = EXTREME_OFFSETS * 3
    table = table_of([[Row(1 + at % 2, offset)] for at, offset in enumerate(offsets)])
    needs = find_needs(table, block=block)
    check_needs(table, None, needs)


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        pytest.param(0, 0, id="no length"),
        pytest.param(MAX_OFFSET, 1, id="ends one byte too far"),
        pytest.param(2**63, 1, id="begins too far"),
        pytest.param(2**64 - 1, 2**32 - 1, id="wraps"),
    ],
)
def test_impossible_ranges_are_refused(offset: int, length: int) -> None:
    table = table_of([[Row(1, 8), Row(1, offset, length)]])
    with pytest.raises(CorruptMetadataError) as caught:
        find_needs(table)
    assert (caught.value.offset, caught.value.length) == (offset, length)
    assert len(find_needs(table, np.array([True, False]))) == 1


def test_a_record_may_end_at_the_last_offset() -> None:
    needs = find_needs(table_of([[Row(1, MAX_OFFSET - 1, 1)]]))
    assert needs.offset.tolist() == [MAX_OFFSET - 1]


def test_rows_need_not_be_aligned() -> None:
    table = table_of([[Row(1, 8), Row(1, 40)], [Row(1, 8)]])
    shifted = np.frombuffer(b"x" + table.rows.tobytes(), ROW_DTYPE, offset=1)
    assert not shifted.view("u8").flags.aligned
    check_needs(table, None, find_needs(ChunkTable(rows=shifted, row_ptr=table.row_ptr)))


@pytest.mark.parametrize("block", [1, 2, 3, 5, 1000])
def test_blocks_do_not_show(block: int) -> None:
    rows = [
        Row(container, offset, digest=digest)
        for digest, container, offset in itertools.product((0, 0, 1), (5, 3), (8, 40, 80))
    ]
    table = table_of([rows[at : at + 4] for at in range(0, len(rows), 4)])
    whole = find_needs(table)
    small = find_needs(table, block=block)
    if block >= 3:  # every place has three rows; fewer in a block are grouped piecewise
        assert small.use_ptr.tolist() == whole.use_ptr.tolist()
        assert small.use_row.tolist() == whole.use_row.tolist()
    assert sorted(small.use_row.tolist()) == list(range(len(rows)))
