import json
import uuid
from typing import Any

import attrs
import pytest

from rehydrate.errors import CorruptMetadataError, LimitError, UnsupportedFormatError
from rehydrate.plan import read_plan
from rehydrate.plan.coalesce import accept_order
from rehydrate.plan.read_plan import (
    PlannedContainer,
    PlannedExtent,
    PlannedRound,
    ReadPlan,
    planned_round,
)
from rehydrate.plan.rounds import plan_round
from rehydrate.values import MAX_OFFSET, ContainerExtent, StorePath
from tests.unit.plan.oracle import needs_of

EXTENT = PlannedExtent(
    container=1,
    offset=100,
    length=900,
    first=120,
    end=400,
    reads=3,
    bytes_needed=200,
    bytes_to_read=250,
)
PATHS = (StorePath("s/a"), StorePath("s/b"))
DATA = PlannedRound("data", PATHS, (EXTENT, attrs.evolve(EXTENT, container=0, bytes_needed=50)))
STREAM = PlannedRound("stream", (StorePath("s/map"),), (attrs.evolve(EXTENT, container=0),))
PLAN = ReadPlan(
    store=uuid.UUID(int=7),
    fingerprint="0123456789abcdef" * 4,
    rounds=(STREAM, DATA),
    files=4,
    logical_bytes=1000,
    allocated_bytes=900,
    unfinished_peak=300,
)


def test_sums_of_a_round() -> None:
    assert (DATA.reads, DATA.bytes_needed, DATA.bytes_to_read, DATA.visits) == (6, 250, 500, 2)
    assert PlannedRound("data", PATHS, (EXTENT, EXTENT)).visits == 1
    assert PlannedRound("data", (), ()).visits == 0


def test_sums_by_container_keep_those_without_reads() -> None:
    planned = PlannedRound("data", PATHS, (EXTENT, EXTENT))
    assert planned.by_container() == (
        PlannedContainer(PATHS[0], 0, 0, 0, 0),
        PlannedContainer(PATHS[1], 2, 6, 400, 500),
    )


def test_amplification_leaves_metadata_out() -> None:
    assert PLAN.amplification == 500 / 250
    assert PLAN.metadata_bytes == 250
    assert (PLAN.bytes_needed, PLAN.bytes_to_read) == (250, 500)
    empty = attrs.evolve(PLAN, rounds=())
    assert empty.amplification == 1.0
    assert empty.round("data").containers == ()


def test_a_round_is_summed_up_from_its_reads() -> None:
    records = [(0, 0, 10), (0, 12, 10), (0, 900, 10), (1, 5, 5), (1, 5, 7), (2, 0, 3)]
    needs = needs_of(records, 3)
    answer = [
        ContainerExtent(index=1),
        ContainerExtent(index=0, offset=800, length=MAX_OFFSET),
        ContainerExtent(index=0, offset=0, length=800),
    ]
    extents, missing = accept_order(answer, needs, containers=3)
    assert missing.tolist() == [2]
    plan = plan_round(needs, extents, max_gap=2, max_read=100)
    planned = planned_round("data", [*PATHS, StorePath("s/c")], plan)
    rows = [attrs.astuple(extent) for extent in planned.extents]
    assert rows == [
        (1, 0, MAX_OFFSET, 5, 12, 1, 7, 7),
        (0, 800, MAX_OFFSET - 800, 900, 910, 1, 10, 10),
        (0, 0, 800, 0, 22, 1, 20, 22),
    ]
    again, _ = accept_order(planned.order(), needs, containers=3)
    for column in ("container", "start", "end"):
        assert getattr(again, column).tolist() == getattr(extents, column).tolist()


def test_a_round_without_reads_is_summed_up() -> None:
    needs = needs_of([], 0)
    extents, _ = accept_order(None, needs, containers=0)
    plan = plan_round(needs, extents, max_gap=0, max_read=10)
    assert planned_round("data", [], plan) == PlannedRound("data", (), ())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"container": -1}, id="negative"),
        pytest.param({"reads": True}, id="bool"),
        pytest.param({"reads": 3.0}, id="float"),
        pytest.param({"first": 99}, id="read before the extent"),
        pytest.param({"end": 1001}, id="read behind the extent"),
        pytest.param({"end": 120}, id="no bytes"),
        pytest.param({"length": 2**80, "end": MAX_OFFSET + 1}, id="beyond the largest offset"),
        pytest.param({"reads": 0}, id="no reads"),
        pytest.param({"reads": 201}, id="more reads than bytes"),
        pytest.param({"bytes_needed": 251}, id="needed but not read"),
        pytest.param({"bytes_to_read": 281}, id="read twice"),
    ],
)
def test_extents_contradicting_themselves_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"int|reads"):
        attrs.evolve(EXTENT, **changes)


@pytest.mark.parametrize(
    "path", ["", "/a", "a//b", "a/", "..", "a/../b", ".", "a\0b", 5, None], ids=repr
)
def test_paths_leading_elsewhere_cannot_be_planned(path: Any) -> None:
    with pytest.raises(ValueError, match="path"):
        PlannedRound("data", (path,), ())


@pytest.mark.parametrize(
    ("kind", "paths", "extents"),
    [
        pytest.param("repair", PATHS, (), id="kind"),
        pytest.param("data", (PATHS[0], PATHS[0]), (), id="a container twice"),
        pytest.param("data", PATHS[:1], (EXTENT,), id="an extent of no container"),
    ],
)
def test_rounds_contradicting_themselves_cannot_be_made(
    kind: str, paths: tuple[StorePath, ...], extents: tuple[PlannedExtent, ...]
) -> None:
    with pytest.raises(ValueError, match=r"kind|twice|no container"):
        PlannedRound(kind, paths, extents)


BAD_PLANS = [
    pytest.param({"store": "x"}, id="store"),
    pytest.param({"fingerprint": "0" * 63}, id="short fingerprint"),
    pytest.param({"fingerprint": "G" * 64}, id="fingerprint that is no number"),
    pytest.param({"fingerprint": 5}, id="fingerprint of another type"),
    pytest.param({"rounds": (DATA, STREAM)}, id="rounds in the wrong order"),
    pytest.param({"rounds": (DATA, DATA)}, id="a round twice"),
    pytest.param({"files": -1}, id="negative count"),
    pytest.param({"allocated_bytes": 1001}, id="more allocated than logical"),
    pytest.param({"unfinished_peak": 901}, id="more unfinished than allocated"),
]


@pytest.mark.parametrize("changes", BAD_PLANS)
def test_plans_contradicting_themselves_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        attrs.evolve(PLAN, **changes)


def test_a_saved_plan_comes_back_equal() -> None:
    assert ReadPlan.from_json(PLAN.to_json()) == PLAN
    assert ReadPlan.from_json(PLAN.to_json().encode()) == PLAN
    empty = attrs.evolve(PLAN, rounds=())
    assert ReadPlan.from_json(empty.to_json()) == empty


def test_names_that_are_no_text_survive() -> None:
    odd = PlannedRound("data", (StorePath("a\udcff\n/b"),), ())
    plan = attrs.evolve(PLAN, rounds=(odd,))
    assert ReadPlan.from_json(plan.to_json()) == plan


def test_a_saved_plan_shows_its_totals() -> None:
    assert json.loads(PLAN.to_json())["totals"] == {
        "containers": 3,
        "reads": 9,
        "bytes_needed": 250,
        "bytes_to_read": 500,
        "metadata_bytes": 250,
        "amplification": 2.0,
    }


def changed(*path: str | int, to: Any) -> str:
    document = json.loads(PLAN.to_json())
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    if to is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return json.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="no JSON"),
        pytest.param(b"\xff\xfe\x00", id="no text"),
        pytest.param("[" * 100_000, id="deep nesting"),
        pytest.param("[]", id="a list"),
        pytest.param("{}", id="an empty object"),
        pytest.param("9" * 5000, id="a huge number"),
        pytest.param(PLAN.to_json().replace("1000", "NaN"), id="NaN"),
        pytest.param(PLAN.to_json().replace("{", '{"files":4,', 1), id="a key twice"),
        pytest.param(changed("format", to="other"), id="another format"),
        pytest.param(changed("version", to="1"), id="a version of another type"),
        pytest.param(changed("version", to=True), id="a version that is a bool"),
        pytest.param(changed("files", to=...), id="a key missing"),
        pytest.param(changed("more", to=1), id="a key too many"),
        pytest.param(changed("files", to=4.0), id="a float"),
        pytest.param(changed("files", to="4"), id="a text"),
        pytest.param(changed("store", to=5), id="a store of another type"),
        pytest.param(changed("store", to="{" + str(PLAN.store) + "}"), id="a store in braces"),
        pytest.param(changed("store", to="x"), id="a store that is none"),
        pytest.param(changed("rounds", to={}), id="rounds that are no list"),
        pytest.param(changed("rounds", 0, to=None), id="a round that is none"),
        pytest.param(changed("rounds", 0, "kind", to=["data"]), id="a kind of another type"),
        pytest.param(changed("rounds", 0, "containers", to="abc"), id="containers that are text"),
        pytest.param(changed("rounds", 0, "containers", 0, to=["a"]), id="a path that is a list"),
        pytest.param(changed("rounds", 0, "containers", 0, to="../a"), id="a path leading out"),
        pytest.param(changed("rounds", 0, "extents", 0, to=[]), id="an extent that is none"),
        pytest.param(changed("rounds", 0, "extents", 0, "x", to=1), id="an extent with more"),
        pytest.param(
            changed("rounds", 0, "extents", 0, "reads", to=4), id="totals of another plan"
        ),
        pytest.param(changed("totals", to=None), id="no totals"),
        pytest.param(changed("totals", "amplification", to=1.0), id="a better amplification"),
    ],
)
def test_what_is_no_plan_is_refused(text: str | bytes) -> None:
    with pytest.raises(CorruptMetadataError):
        ReadPlan.from_json(text)


@pytest.mark.parametrize("containers", ["a", {"a": 1}])
def test_containers_that_only_look_like_a_list_are_refused(containers: Any) -> None:
    plan = attrs.evolve(PLAN, rounds=(PlannedRound("data", (StorePath("a"),), ()),))
    document = json.loads(plan.to_json())
    document["rounds"][0]["containers"] = containers
    with pytest.raises(CorruptMetadataError, match="list"):
        ReadPlan.from_json(json.dumps(document))


@pytest.mark.parametrize("version", [0, 2, -1])
def test_a_plan_of_another_version_is_refused_by_name(version: int) -> None:
    with pytest.raises(UnsupportedFormatError, match=f"version {version};"):
        ReadPlan.from_json(changed("version", to=version))


def test_an_oversized_plan_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_plan, "MAX_JSON", 10)
    with pytest.raises(LimitError):
        ReadPlan.from_json("[" * 11)


def test_every_truncation_is_refused() -> None:
    text = PLAN.to_json()
    for end in range(len(text)):
        with pytest.raises(CorruptMetadataError):
            ReadPlan.from_json(text[:end])
