"""Saved plans: what is written comes back, and whatever else comes is refused with a typed error."""

import json
import uuid

from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.errors import CorruptMetadataError, UnsupportedFormatError
from rehydrate.plan.read_plan import PlannedExtent, PlannedRound, ReadPlan
from rehydrate.values import StorePath


@st.composite
def rounds(draw: st.DrawFn, kind: str) -> PlannedRound:
    names = draw(st.lists(st.text("ab.c", min_size=1), max_size=4, unique=True))
    paths = tuple(StorePath(f"store/{name}x") for name in names)
    extents = []
    for container in draw(st.lists(st.integers(0, len(paths) - 1), max_size=4)) if paths else []:
        sizes = sorted(draw(st.lists(st.integers(1, 2**40), min_size=4, max_size=4)))
        offset, before, behind = (draw(st.integers(0, 2**40)) for _ in range(3))
        extents.append(
            PlannedExtent(
                container=container,
                offset=offset,
                length=before + sizes[3] + behind,
                first=offset + before,
                end=offset + before + sizes[3],
                reads=sizes[0],
                bytes_needed=sizes[1],
                bytes_to_read=sizes[2],
            )
        )
    return PlannedRound(kind, paths, tuple(extents))


@st.composite
def plans(draw: st.DrawFn) -> ReadPlan:
    sizes = sorted(draw(st.lists(st.integers(0, 2**70), min_size=3, max_size=3)))
    kinds = [kind for kind in ("stream", "data") if draw(st.booleans())]
    return ReadPlan(
        store=draw(st.uuids()),
        fingerprint=draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        rounds=tuple(draw(rounds(kind)) for kind in kinds),
        files=draw(st.integers(0, 2**40)),
        logical_bytes=sizes[2],
        allocated_bytes=sizes[1],
        unfinished_peak=sizes[0],
    )


@settings(deadline=None)
@given(plans())
def test_a_saved_plan_comes_back_equal(plan: ReadPlan) -> None:
    assert ReadPlan.from_json(plan.to_json()) == plan


SAMPLE = ReadPlan(
    store=uuid.UUID(int=3),
    fingerprint="0" * 64,
    rounds=(
        PlannedRound(
            "data",
            (StorePath("a"),),
            (
                PlannedExtent(
                    container=0,
                    offset=0,
                    length=9,
                    first=1,
                    end=5,
                    reads=1,
                    bytes_needed=3,
                    bytes_to_read=4,
                ),
            ),
        ),
    ),
    files=1,
    logical_bytes=3,
    allocated_bytes=2,
    unfinished_peak=1,
).to_json()


def accepted_or_refused(text: str | bytes) -> None:
    try:
        plan = ReadPlan.from_json(text)
    except (CorruptMetadataError, UnsupportedFormatError):
        return
    assert ReadPlan.from_json(plan.to_json()) == plan


@settings(deadline=None)
@given(st.one_of(st.text(), st.binary()))
def test_any_text_is_refused_or_read(text: str | bytes) -> None:
    accepted_or_refused(text)


@settings(deadline=None)
@given(st.integers(0, len(SAMPLE) - 1), st.characters())
def test_any_change_of_a_character_is_refused_or_read(at: int, character: str) -> None:
    accepted_or_refused(SAMPLE[:at] + character + SAMPLE[at + 1 :])


ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(document: object) -> list[tuple[str | int, ...]]:
    """Return the way to every value inside a document."""
    inner: list[tuple[str | int, object]] = []
    if isinstance(document, dict):
        inner = list(document.items())
    elif isinstance(document, list):
        inner = list(enumerate(document))
    return [(key, *rest) for key, value in inner for rest in [(), *places(value)]]


@settings(deadline=None)
@given(st.data(), ANY_JSON)
def test_any_value_in_any_place_is_refused_or_read(data: st.DataObject, value: object) -> None:
    document = json.loads(SAMPLE)
    *way, last = data.draw(st.sampled_from(places(document)))
    inner = document
    for step in way:
        inner = inner[step]
    inner[last] = value
    accepted_or_refused(json.dumps(document))
