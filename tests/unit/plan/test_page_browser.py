"""The plan page in a real browser: what is seen, what is said, what the keyboard does."""

from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
import pytest

from rehydrate.plan.estimates import together
from rehydrate.plan.page import PagePart, plan_page
from tests.unit.plan.browser import Tab, browsing, find_chromium
from tests.unit.plan.pages import estimates_for, names_for, plan_of, random_table, tape_order

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium is installed: the plan page was not looked at")
    with browsing(program, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = random_table(files=6, chunks=600, containers=8)
    names = [b"</script><img src=http://192.0.2.1/x onerror=alert(1)>", *names_for(6)[1:]]
    plan, sketch = plan_of(table, names, answer=tape_order(8, size=9 << 20))
    page = plan_page([PagePart(plan=plan, sketch=sketch, estimates=estimates_for(plan))])
    path = tmp_path_factory.mktemp("page") / "plan.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture
def tab(browser: Tab, written: Path) -> Iterator[Tab]:
    browser.prefer("light")
    browser.size(1300, 1000, 0.25)
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(written)
    assert browser.value("document.documentElement.dataset.ready") == "true"
    yield browser
    assert browser.complaints == []
    assert browser.requests == [written.as_uri()]


def details(tab: Tab) -> str:
    return str(tab.value("document.querySelector('.details').innerText"))


def focused(tab: Tab) -> str:
    return str(tab.value("document.activeElement.dataset.chart || document.activeElement.tagName"))


def tab_to(tab: Tab, chart: str) -> None:
    for _ in range(40):
        tab.press("Tab")
        if focused(tab) == chart:
            return
    pytest.fail(f"Tab does not lead to {chart}")


@pytest.mark.parametrize(("scheme", "ground"), [("light", 246), ("dark", 18)])
def test_the_page_is_not_blank(tab: Tab, scheme: str, ground: int) -> None:
    tab.prefer(scheme)
    seen = tab.picture().astype(int)
    assert seen.shape == (250, 325, 3)
    assert abs(int(seen[0, 0, 0]) - ground) <= 2
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 300
    other = np.abs(seen - seen[0, 0]).max(axis=2) > 4
    assert other.mean() > 0.3


def test_bars_lie_in_their_rows(tab: Tab) -> None:
    bars = tab.value(
        "(() => { const c = document.querySelector('[data-chart=lanes]');"
        " const s = c.querySelector('svg').getBoundingClientRect();"
        " const r = [...c.querySelectorAll('.bar')].map(b => b.getBoundingClientRect());"
        " return [s.left - r[0].left, s.right - r[0].right, s.top - r[0].top,"
        " s.bottom - r.at(-1).bottom, s.width]; })()"
    )
    assert max(map(abs, bars[:4])) < 1.5
    assert bars[4] > 300


def test_the_keyboard_goes_through_containers_and_stretches(tab: Tab) -> None:
    assert "Point at a bar" in details(tab)
    tab_to(tab, "lanes")
    first = details(tab)
    assert "00000004.0.ccc" in first
    tab.press("ArrowDown")
    second = details(tab)
    assert "00000002.0.ccc" in second
    chosen = "document.querySelector('[data-chart=lanes] [aria-selected=true]')"
    assert tab.value(f"{chosen}.dataset.i") == "1"
    active = "document.querySelector('[data-chart=lanes]').getAttribute('aria-activedescendant')"
    assert tab.value(f"{active} === {chosen}.id")
    tab.press("ArrowRight")
    stretch = details(tab)
    assert "range" in stretch
    assert "1 of " in stretch
    tab.press("ArrowRight")
    assert "2 of " in details(tab)
    tab.press("ArrowLeft", 5)
    assert details(tab) == stretch
    tab.press("End")
    assert tab.value(f"{chosen}.dataset.i") == "7"
    tab.press("ArrowDown")
    assert tab.value(f"{chosen}.dataset.i") == "7"
    tab.press("Home")
    assert details(tab) == first


def test_the_keyboard_goes_through_tapes_and_files(tab: Tab) -> None:
    tab_to(tab, "tape")
    assert "1 of 8" in details(tab)
    assert "Tape LT0007L9" in details(tab)
    tab.press("ArrowRight", 2)
    assert "3 of 8" in details(tab)
    assert "00000" in details(tab)
    tab_to(tab, "files")
    before = details(tab)
    assert "finished" in before
    tab.press("ArrowDown")
    assert details(tab) != before


def test_the_mouse_tells_what_it_points_at(tab: Tab) -> None:
    place = tab.value(
        "(() => { const r = JSON.parse(document.getElementById('plan-data').textContent)"
        ".parts[0].rounds[0]; const m = r.lanes[3].marks[7];"
        " return (m[0] + m[1]) / 2 / r.widest; })()"
    )
    tab.point("[data-chart=lanes] [data-i='3'] .bar", place)
    told = details(tab)
    assert "range" in told
    assert "8 of " in told
    tab.point("[data-chart=lanes] [data-i='3'] .name")
    assert "size known" in details(tab)
    tab.point("[data-chart=files] .row")
    assert "finished" in details(tab)


def test_hostile_names_stay_text(tab: Tab) -> None:
    assert tab.value("document.querySelectorAll('img').length") == 0
    tab_to(tab, "files")
    seen = []
    for _ in range(6):
        seen.append(details(tab))
        tab.press("ArrowDown")
    assert any("<img src=" in text for text in seen)
    assert tab.value("document.querySelectorAll('img').length") == 0


def test_a_legend_entry_shows_only_its_own(tab: Tab) -> None:
    dim = "document.querySelectorAll('path.dim').length"
    whole = tab.value("document.querySelectorAll('path[data-g]').length")
    tab.value("document.querySelector('.legend button').focus()")
    tab.press(" ")
    assert tab.value("document.activeElement.getAttribute('aria-pressed')") == "true"
    assert 0 < tab.value(dim) < whole
    tab.press(" ")
    assert tab.value(dim) == 0


def test_the_way_can_be_hidden(tab: Tab) -> None:
    shown = "getComputedStyle(document.querySelector('.way')).display"
    assert tab.value(shown) != "none"
    tab.value("document.querySelector('.tools input').focus()")
    tab.press(" ")
    assert tab.value(shown) == "none"


@pytest.mark.parametrize("width", [1300, 400])
def test_several_plans_are_on_one_page(browser: Tab, tmp_path: Path, width: int) -> None:
    parts = []
    for number, heading in enumerate(("Store one", "Store two")):
        plan, sketch = plan_of(random_table(files=4, chunks=200, containers=3), names_for(4))
        estimates = attrs.evolve(estimates_for(plan), begin_seconds=number * 700.0)
        parts.append(PagePart(plan=plan, sketch=sketch, estimates=estimates, heading=heading))
    told = [(part.heading, part.estimates) for part in parts if part.estimates is not None]
    path = tmp_path / "plan.html"
    path.write_text(plan_page(parts, whole=together(told)), encoding="utf-8")
    browser.size(width, 900, 0.25)
    browser.open(path)
    assert browser.value("document.querySelectorAll('table.media').length") == 1
    # Columns of numbers stand below their heads, and no text leaves its tile.
    ragged = (
        "(() => { const t = document.querySelector('table.media');"
        " return [...t.tHead.rows[0].cells].filter((h, n) => getComputedStyle(h).textAlign !=="
        " getComputedStyle(t.tBodies[0].rows[0].cells[n]).textAlign).length; })()"
    )
    assert browser.value(ragged) == 0
    wide = "[...document.querySelectorAll('.tiles div')].filter(d => d.scrollWidth > d.clientWidth)"
    assert browser.value(f"{wide}.length") == 0
    # Numbers above bars do not run into each other.
    ticks = (
        "[...document.querySelectorAll('.head .ticks')].every(t => { const r ="
        " [...t.children].map(c => c.getBoundingClientRect()).filter(b => b.width);"
        " return r.every((b, n) => !n || r[n - 1].right <= b.left + 0.5); })"
    )
    assert browser.value(ticks)
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.complaints == []
    # The second plan has its own charts.
    browser.value("document.querySelectorAll('.part')[1].querySelector('[role=listbox]').focus()")
    browser.press("ArrowDown")
    told_of = "document.querySelectorAll('.details')[1].innerText"
    assert "needed" in browser.value(told_of)


@pytest.mark.parametrize("width", [1300, 800, 400])
def test_nothing_sticks_out_of_a_window(tab: Tab, width: int) -> None:
    tab.size(width, 900, 0.25)
    assert tab.value("document.documentElement.scrollWidth") <= width
