import numpy as np
import pytest

from rehydrate.plan import sketch as module
from rehydrate.plan.coalesce import accept_order
from rehydrate.plan.planner import find_needs
from rehydrate.plan.rounds import plan_round
from rehydrate.plan.sketch import PlanSketch, sketch_plan
from rehydrate.values import ContainerExtent
from tests.unit.plan.oracle import Row, hole, table_of, zeros
from tests.unit.plan.pages import names_for, plan_of, random_table


def sketched(
    files: dict[bytes, list[Row]],
    answer: list[ContainerExtent] | None = None,
    *,
    max_read: int = 10,
) -> PlanSketch:
    table = table_of(list(files.values()))
    needs = find_needs(table)
    extents, _ = accept_order(answer, needs, containers=len(needs.containers))
    plan = plan_round(needs, extents, max_gap=0, max_read=max_read)
    return sketch_plan(needs, table, plan, list(files))


def marks_of(found: PlanSketch) -> list[tuple[int, float, float, int, int, list[int]]]:
    columns = (getattr(found.marks, name) for name in ("lane", "start", "end", "group", "needed"))
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        (*row, [file for file in files if file >= 0])
        for row, files in zip(rows, found.marks.files.tolist(), strict=True)
    ]


A, B, C, D = (Row(1, offset) for offset in (100, 110, 120, 500))
E = Row(2, 7)


def test_marks_say_which_file_needs_which_range() -> None:
    found = sketched({b"a": [A, B], b"b": [D, E]})
    assert marks_of(found) == [
        (0, 100, 120, 0, 20, [0]),
        (0, 500, 510, 1, 10, [1]),
        (1, 7, 17, 1, 10, [1]),
    ]


def test_what_several_files_need_is_of_none() -> None:
    found = sketched({b"a": [A, B], b"b": [B, C]})
    assert marks_of(found) == [
        (0, 100, 110, 0, 10, [0]),
        (0, 110, 120, 2, 10, [0, 1]),
        (0, 120, 130, 1, 10, [1]),
    ]


def test_reads_close_together_are_one_mark_that_says_how_much_is_needed() -> None:
    rows = [Row(1, 20 * n) for n in range(1000)] + [Row(1, 10**8)]
    found = sketched({b"a": rows})
    assert marks_of(found) == [
        (0, 0, 19_990, 0, 10_000, [0]),
        (0, 10**8, 10**8 + 10, 0, 10, [0]),
    ]


def test_files_are_finished_in_reading_order() -> None:
    files = {
        b"a": [A, D],
        b"b": [B],
        b"c": [E],
        b"none": [],
        b"hole": [hole(5), zeros(3)],
    }
    order = [ContainerExtent(index=1), ContainerExtent(index=0)]
    found = sketched(files, order)
    assert found.begin.tolist() == [10, 20, 0, 0, 0]
    assert found.finish.tolist() == [40, 30, 10, 0, 0]
    assert found.sizes.tolist() == [200, 100, 100, 0, 3]
    assert found.lanes.order.tolist() == [1, 0]


def test_files_without_their_container_are_never_finished() -> None:
    found = sketched({b"a": [A, E], b"b": [B]}, [ContainerExtent(index=0)])
    assert found.finish.tolist() == [-1, 20]
    assert [mark[:3] for mark in marks_of(found)] == [(0, 100, 110), (0, 110, 120)]


def test_a_record_in_fragments_comes_with_its_last() -> None:
    found = sketched({b"a": [Row(1, 0, length=35)], b"b": [Row(1, 40)]})
    assert found.begin.tolist() == [0, 35]
    assert found.finish.tolist() == [35, 45]


def test_unfinished_bytes_rise_and_fall() -> None:
    found = sketched({b"a": [A, D], b"b": [B, C]})
    assert len(found.levels) == module.LEVELS
    assert max(found.levels) == 400
    assert found.levels[0] == 200
    assert found.levels[-1] == 200
    assert found.levels[module.LEVELS // 2] == 400


def test_nothing_unfinished_has_no_course() -> None:
    assert sketched({b"a": [], b"b": [A, E]}, [ContainerExtent(index=0)]).levels == ()


def test_small_files_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMED", 1)
    found = sketched({b"a": [A], b"b": [Row(1, 110, size=900)], b"c": [C]})
    assert [mark[-1] for mark in marks_of(found)] == [[3], [1], [3]]


def test_the_sketch_is_the_same_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    table = random_table(files=40, chunks=4000, containers=7)
    _, whole = plan_of(table, names_for(40))
    monkeypatch.setattr(module, "PENDING", 5)
    monkeypatch.setattr(
        module, "blocks", lambda n: ((at, min(at + 97, n)) for at in range(0, n, 97))
    )
    _, parts = plan_of(table, names_for(40))
    assert marks_of(whole) == marks_of(parts)


def test_needed_bytes_of_marks_are_those_of_the_plan() -> None:
    table = random_table(files=300, chunks=9000, containers=5, shared=0.3)
    plan, found = plan_of(table, names_for(300))
    assert int(found.marks.needed.sum()) == plan.bytes_needed
    assert (found.marks.start < found.marks.end).all()
    assert (found.marks.needed <= found.marks.end - found.marks.start).all()
    assert found.finish.max() == plan.bytes_to_read
    assert max(found.levels) == plan.unfinished_peak


def test_marks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MARKS", 100)
    table = random_table(files=12, chunks=20_000, containers=3)
    rng = np.random.default_rng(1)
    rows = table.rows.copy()
    rows["container"] = rng.permutation(rows["container"])
    _, found = plan_of(type(table)(rows, table.row_ptr), names_for(12))
    marks = found.marks
    assert len(marks.lane) <= 3 * module.MOST_CELLS
    assert len(set(marks.group.tolist())) > 10
    # Here records overlap: no mark needs more than it has.
    assert (marks.needed <= marks.end - marks.start).all()
