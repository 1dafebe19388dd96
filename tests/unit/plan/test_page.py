import base64
import hashlib
import html
import html.parser
import json
import re
import uuid
from typing import Any

import attrs
import numpy as np
import pytest

from rehydrate.plan import page_lanes, page_tape
from rehydrate.plan.estimates import (
    PlanEstimates,
    PlannedMedium,
    TapeDrawing,
    TapePass,
    together,
)
from rehydrate.plan.page import PagePart, plan_page
from rehydrate.plan.page_tape import draw_media, shown_tapes
from rehydrate.plan.page_text import data_block, visible
from rehydrate.plan.read_plan import PlannedExtent, PlannedRound, ReadPlan
from rehydrate.values import MAX_OFFSET, ContainerExtent, StorePath
from tests.unit.plan.oracle import Row, table_of
from tests.unit.plan.pages import (
    estimates_for,
    names_for,
    plan_of,
    random_table,
    tape_order,
)

HOSTILE = (
    b"</script><script>alert(1)</script>'\"><img src=x onerror=alert(2)>&lt;\xff\xe2\x80\xae\n]]>"
)


class Reader(html.parser.HTMLParser):
    """Reads a page as strictly as tags allow: what is opened is closed."""

    VOID = frozenset({"meta", "link", "input", "path", "rect", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.data: Any = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            if self.data is None:
                self.data = json.loads(data)
        elif self.open[-1:] != ["style"]:
            self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def small_page(**changes: Any) -> str:
    table = random_table(files=6, chunks=600, containers=8)
    plan, sketch = plan_of(table, names_for(6), answer=tape_order(8, size=9 << 20))
    part = PagePart(plan=plan, sketch=sketch, estimates=estimates_for(plan))
    return plan_page([attrs.evolve(part, **changes)])


def test_equal_plans_make_equal_pages() -> None:
    assert small_page() == small_page()


def test_a_page_is_well_formed_and_whole() -> None:
    page = small_page()
    reader = read(page)
    assert page.isascii() or page.encode("utf-8")
    text = " ".join(reader.text)
    for words in ("Media in mount order", "LT0042L9", "1.0435 USD", "band 3", "as asked", "taken",
                  "00000003.0.ccc", "Stream maps", "projects/bridge/item 00000.dat"):  # fmt: skip
        assert words in text
    (part,) = reader.data["parts"]
    assert len(part["rounds"][0]["lanes"]) == 8
    assert len(part["tapes"]) == 2
    assert len(part["times"]) == 6


def test_a_page_needs_no_network_and_lets_nothing_else_run() -> None:
    reader = read(small_page())
    links = [
        value
        for _, values in reader.tags
        for name, value in values.items()
        if name in {"src", "href", "action", "xlink:href"} or (name or "").startswith("on")
    ]
    assert links == ["data:,"]
    page = small_page()
    assert re.findall(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page) == []
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    (policy,) = [
        values["content"]
        for tag, values in reader.tags
        if tag == "meta" and values.get("http-equiv") == "Content-Security-Policy"
    ]
    assert f"script-src 'sha256-{digest}'" in str(policy)
    assert str(policy).startswith("default-src 'none'")


def test_hostile_names_are_text() -> None:
    table = table_of([[Row(1, 8)], [Row(2, 8)], [Row(2, 18)]])
    name = HOSTILE.decode("utf-8", "surrogateescape")
    plan, sketch = plan_of(table, [HOSTILE, b"b\xf0\x9f\x92\xbe", b"c"], folder=name)
    estimates = PlanEstimates(
        media=(PlannedMedium(name=name, kind=name, note=name),),
        tapes=(
            TapeDrawing(
                name=name, length_m=9.0, wraps=2, passes=(TapePass(wrap=1, begin_m=3.0, end_m=1.0, container=0),)
            ),
        ),
        notes=(name,),
    )  # fmt: skip
    part = PagePart(plan=plan, sketch=sketch, estimates=estimates, heading=name)
    page = plan_page([part], title=name, facts=[(name, name)])
    reader = read(page)
    page.encode("utf-8")
    assert "<img" not in page
    assert page.count("<script") == 2
    assert "\u202e" not in page
    assert "onerror" not in {name for _, values in reader.tags for name in values}
    assert any("\\xff\\u202e\\u000a]]>" in text for text in reader.text)
    assert reader.data["parts"][0]["files"]["0"] == visible(HOSTILE)


def test_a_saved_plan_is_enough_for_a_page() -> None:
    table = random_table(files=6, chunks=600, containers=8)
    plan, _ = plan_of(table, names_for(6))
    page = plan_page([PagePart(plan=ReadPlan.from_json(plan.to_json()))])
    (part,) = read(page).data["parts"]
    assert [len(lane["steps"]) for lane in part["rounds"][0]["lanes"]] == [1] * 8
    assert all(lane["marks"] == [] for lane in part["rounds"][0]["lanes"])


def test_nothing_to_restore_is_a_page() -> None:
    assert "nothing to restore" in " ".join(read(plan_page([])).text)
    empty = ReadPlan(
        store=uuid.UUID(int=1), fingerprint="0" * 64, rounds=(), files=0, logical_bytes=0,
        allocated_bytes=0, unfinished_peak=0,
    )  # fmt: skip
    assert read(plan_page([PagePart(plan=empty)])).data["parts"][0]["rounds"] == []


def test_containers_that_are_not_offered_are_told() -> None:
    table = table_of([[Row(1, 8), Row(2, 8)], [Row(n, 50) for n in range(3, 40)], [Row(1, 18)]])
    plan, sketch = plan_of(table, [b"a", b"b", b"c"], answer=[ContainerExtent(index=0)])
    text = " ".join(read(plan_page([PagePart(plan=plan, sketch=sketch)])).text)
    assert "38 containers not offered" in text
    assert "2 files cannot be restored" in text
    assert "and 18 more" in text
    assert "not complete" in text
    without = " ".join(read(plan_page([PagePart(plan=plan)])).text)
    assert "38 containers not offered" in without
    assert "cannot be restored" not in without


def test_a_sketch_of_another_plan_is_refused() -> None:
    one, _ = plan_of(table_of([[Row(1, 8), Row(2, 8)]]), [b"a"])
    _, other = plan_of(table_of([[Row(1, 8)]]), [b"a"])
    with pytest.raises(ValueError, match="another plan"):
        plan_page([PagePart(plan=one, sketch=other)])


def test_several_plans_have_a_part_each() -> None:
    plan, sketch = plan_of(table_of([[Row(1, 8)]]), [b"a"])
    parts = [PagePart(plan=plan, sketch=sketch, heading=name) for name in ("one", "two")]
    reader = read(plan_page(parts))
    assert [values["data-part"] for _, values in reader.tags if "data-part" in values] == ["0", "1"]


def extents_of(order: list[int], size: int = 1000) -> tuple[PlannedExtent, ...]:
    visits: dict[int, int] = {}
    found = []
    for container in order:
        visit = visits[container] = visits.get(container, -1) + 1
        found.append(
            PlannedExtent(
                container=container, offset=visit * size, length=size, first=visit * size + 5,
                end=visit * size + 500, reads=2, bytes_needed=300, bytes_to_read=400,
            )
        )  # fmt: skip
    return tuple(found)


def page_of(order: list[int]) -> Reader:
    paths = tuple(StorePath(f"d/{number:06}") for number in range(max(order) + 1))
    plan = ReadPlan(
        store=uuid.UUID(int=1), fingerprint="0" * 64, files=0, logical_bytes=0, allocated_bytes=0,
        rounds=(PlannedRound("data", paths, extents_of(order)),), unfinished_peak=0,
    )  # fmt: skip
    return read(plan_page([PagePart(plan=plan)]))


def test_the_order_is_numbered() -> None:
    reader = page_of([1, 0, 1, 2, 1, 1])
    lanes = reader.data["parts"][0]["rounds"][0]["lanes"]
    assert [(lane["names"][0], lane["steps"]) for lane in lanes] == [
        ("000001", [0, 2, 4, 5]),
        ("000000", [1]),
        ("000002", [3]),
    ]
    said = [
        str(values["aria-label"]) for _, values in reader.tags if values.get("role") == "option"
    ]
    assert said[0].startswith("000001, read at 1, 3, 5 …, ")
    (hops,) = [values["d"] for _, values in reader.tags if values.get("class") == "hops"]
    assert str(hops).count("L") == 4


def test_long_orders_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_lanes, "MOST_STEPS", 4)
    reader = page_of([0, 0, 0, 1, 1, 2])
    (round_,) = reader.data["parts"][0]["rounds"]
    assert [step[3] for step in round_["steps"]] == [3, 2, 1]
    reader = page_of([0, 1, 0, 1, 0, 1])
    (round_,) = reader.data["parts"][0]["rounds"]
    assert len(round_["steps"]) == 4
    assert sum(lane["reads"] for lane in round_["lanes"]) == 12
    assert any("first 4 steps" in text for text in reader.text)


def test_many_containers_share_bars() -> None:
    reader = page_of(list(range(1000)))
    (round_,) = reader.data["parts"][0]["rounds"]
    assert len(round_["lanes"]) == 334
    assert round_["lanes"][0]["names"] == ["000000", "000002"]
    assert any("share a bar" in text for text in reader.text)


def test_a_container_of_the_largest_size_is_drawn() -> None:
    extent = PlannedExtent(
        container=0, offset=0, length=MAX_OFFSET, first=2**62, end=MAX_OFFSET, reads=1,
        bytes_needed=5, bytes_to_read=2**40,
    )  # fmt: skip
    plan = ReadPlan(
        store=uuid.UUID(int=1), fingerprint="0" * 64, files=0, logical_bytes=0, allocated_bytes=0,
        rounds=(PlannedRound("data", (StorePath("a"),), (extent,)),), unfinished_peak=0,
    )  # fmt: skip
    assert "8.00 EiB" in " ".join(read(plan_page([PagePart(plan=plan)])).text)


def test_a_million_reads_make_a_page_of_bounded_size() -> None:
    count = 1_000_000
    table = random_table(files=20_000, chunks=count, containers=900, shared=0.2)
    table.rows["offset"] += np.arange(count).astype(np.uint64) % 7 * 8192  # no reads in common
    plan, sketch = plan_of(table, names_for(20_000), max_gap=0)
    assert plan.round("data").reads > 500_000
    page = plan_page([PagePart(plan=plan, sketch=sketch)])
    assert len(page.encode()) < 5_000_000


def test_the_largest_drawings_stay_small() -> None:
    rng = np.random.default_rng(2)
    plan, sketch = plan_of(
        random_table(files=400, chunks=60_000, containers=400),
        [b"n" * 290 + b"%d" % n for n in range(400)],
    )
    passes = tuple(
        TapePass(wrap=int(w), begin_m=float(x), end_m=float(x), container=0, seconds=1.25)
        for w, x in zip(rng.integers(0, 280, 9000), rng.uniform(0, 900, 9000), strict=True)
    )
    tape = TapeDrawing(name="A", length_m=900.0, wraps=280, passes=passes)
    part = PagePart(plan=plan, sketch=sketch, estimates=PlanEstimates(tapes=(tape,)))
    assert len(plan_page([part]).encode()) < 5_000_000


def test_long_names_keep_both_ends() -> None:
    shown = visible("a" * 500 + "z" * 500)
    assert len(shown) < 320
    assert shown.startswith("aaa")
    assert shown.endswith("zzz")


def test_data_cannot_end_its_element() -> None:
    text = data_block(["</script>", "<!--", "&amp;", "\u2028"])
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == ["</script>", "<!--", "&amp;", "\u2028"]
    with pytest.raises(ValueError, match="JSON"):
        data_block([float("nan")])


def stay(name: str, **more: Any) -> PlannedMedium:
    return PlannedMedium(name=name, bytes_to_read=5, mounted=True, **more)


def test_media_have_columns_for_what_is_known_only() -> None:
    few = draw_media(PlanEstimates(media=(stay("A"), stay("B"))))
    assert "drive" not in few
    assert ">for<" not in few
    assert ">locate<" not in few
    more = draw_media(
        PlanEstimates(
            media=(
                stay("A", phase="maps", drive=1, wanted_seconds=0.0, ready_seconds=4.0),
                attrs.evolve(
                    stay("A", drive=2, wanted_seconds=75.0, ready_seconds=0.0), mounted=False
                ),
                stay("B", drive=2, read_seconds=0.001, order="logical sort: asked for"),
            )
        )
    )
    for text in (
        ">for<", ">drive<", ">maps<", ">data<", ">at once<", ">after 1 min 15 s<",
        ">in the drive<", ">&lt; 0.1 s<",
        "<td>logical sort</td>", "<li>logical sort: asked for</li>",
    ):  # fmt: skip
        assert text in more


def test_long_lists_of_media_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_tape, "MOST_MEDIA", 2)
    found = draw_media(PlanEstimates(media=tuple(stay(f"T{n}") for n in range(5))))
    assert found.count("<tr>") == 3
    assert "3 more media are not in this list" in found


def test_many_tapes_share_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_tape, "MOST_TAPES", 3)
    monkeypatch.setattr(page_tape, "ALL_PASSES", 12)
    passes = tuple(TapePass(wrap=n, begin_m=1.0, end_m=2.0) for n in range(6))
    tapes = tuple(
        TapeDrawing(name=f"T{n}", length_m=10.0, wraps=8, passes=passes, at_wrap=4, at_m=2.5)
        for n in range(5)
    )
    shown = shown_tapes(tapes)
    assert [(tape.name, len(tape.passes), tape.left_out) for tape in shown] == [
        ("T0", 4, 2),
        ("T1", 4, 2),
        ("T2", 4, 2),
    ]
    plan, sketch = plan_of(random_table(files=3, chunks=40, containers=2), names_for(3))
    page = plan_page([PagePart(plan=plan, sketch=sketch, estimates=PlanEstimates(tapes=tapes))])
    assert "2 more tapes are not drawn" in page
    assert page.count("<figcaption>Tape T") == 3
    # The way begins where the head is.
    assert 'class="way" d="M250 45L' in page
    assert shown_tapes(()) == ()


def test_several_plans_have_one_list_of_media() -> None:
    plan, sketch = plan_of(random_table(files=3, chunks=40, containers=2), names_for(3))
    first = PlanEstimates(media=(stay("A", drive=1),), total_seconds=60.0, ready_seconds=9.0)
    second = attrs.evolve(first, begin_seconds=60.0, total_seconds=120.0, at_least=True)
    parts = [
        PagePart(plan=plan, sketch=sketch, estimates=estimates, heading=heading)
        for heading, estimates in (("one", first), ("two", second))
    ]
    whole = together([("s1", first), ("s2", second)])
    page = plan_page(parts, whole=whole)
    assert page.count("Media in mount order") == 1
    assert page.index("All stores, one after the other") < page.index("<h2>one</h2>")
    assert "at least 2 min 00 s" in page
    assert "begins after 1 min 00 s; waiting 9.0 s" in page
    assert "<dt>finished after</dt>" in page
    alone = plan_page(parts[:1], whole=whole)
    assert "All stores" not in alone
    assert alone.count("Media in mount order") == 1
