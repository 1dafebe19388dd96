"""What a plan tells beyond its table: the page of ``plan --html``, and each file of ``--json``."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import attrs
import numpy as np

from rehydrate.cli.chosen import Wanted
from rehydrate.cli.output import Json, say, shown
from rehydrate.engine.planning import SketchedPlan, plan_restore, sketch_restore
from rehydrate.plan.estimates import PlanEstimates, seconds_at
from rehydrate.plan.page import PagePart, plan_page
from rehydrate.plan.read_plan import ReadPlan
from rehydrate.protocols import BackupStore
from rehydrate.requests import RestoreOptions, RestoreRequest
from rehydrate.values import StoreId

__all__ = ["Forecast", "PlanOutput", "estimates_record", "file_records", "made_plan", "write_page"]

_FEW: Final = 5


class Forecast(Protocol):
    """Knows the media that a plan reads from."""

    def stores(self, stores: Mapping[StoreId, BackupStore], /) -> Mapping[StoreId, BackupStore]:
        """Return stores that give the order which the media want.

        Args:
            stores: The stores.
        """
        ...

    @property
    def looks_first(self) -> bool:
        """Whether :meth:`learn` wants a plan before the one that is shown."""
        ...

    def learn(self, plan: ReadPlan, /) -> None:
        """Find the order of what a plan needs.

        Args:
            plan: A plan that was made with :meth:`stores`.
        """
        ...

    @property
    def ready_bytes(self) -> int | None:
        """Bytes of the data round that come first, from media at hand; ``None`` = all are."""
        ...

    def estimates(self, found: SketchedPlan, /) -> PlanEstimates | None:
        """Tell what a plan takes, or None if nothing is known.

        Args:
            found: A plan that was made with :meth:`stores`.
        """
        ...


@attrs.frozen(kw_only=True)
class PlanOutput:
    """How a plan is shown.

    Attributes:
        as_json: As a document instead of a table.
        save: File to keep the plan in.
        html: File for a page about it.
        source: What the plan is made for, as the user named it.
        forecast: Who knows the media; ``None`` = nobody.
    """

    as_json: bool = False
    save: Path | None = None
    html: Path | None = None
    source: str = ""
    forecast: Forecast | None = None

    @property
    def ready_bytes(self) -> int | None:
        """What comes from media at hand; ``None`` = nobody tells."""
        return None if self.forecast is None else self.forecast.ready_bytes

    @property
    def sketched(self) -> bool:
        """Whether it is told what is read for which file."""
        return self.as_json or self.html is not None or self.forecast is not None


def made_plan(
    requests: Iterable[RestoreRequest],
    stores: Mapping[StoreId, BackupStore],
    output: PlanOutput,
    options: RestoreOptions,
) -> SketchedPlan:
    """Plan a restore, with as much detail as is shown.

    Args:
        requests: What would be restored.
        stores: The stores.
        output: How the plan is shown.
        options: Options of the restore.
    """
    if output.forecast is not None:
        ordered, requests = output.forecast.stores(stores), list(requests)
        if output.forecast.looks_first:
            output.forecast.learn(plan_restore(requests, ordered, options=options))
        found = sketch_restore(requests, ordered, options=options)
        return attrs.evolve(found, estimates=output.forecast.estimates(found))
    if output.sketched:
        return sketch_restore(requests, stores, options=options)
    return SketchedPlan(plan_restore(requests, stores, options=options))


def estimates_record(found: SketchedPlan) -> Json:
    """Return what is expected of a plan, for JSON.

    Args:
        found: The plan.
    """
    return None if found.estimates is None else found.estimates.as_record()


def file_records(found: SketchedPlan, ready: int | None = None) -> Iterator[Json]:
    """Tell when each file is finished, in this order; those that miss a container come last.

    Args:
        found: The plan; where no data is read, there is nothing to tell.
        ready: Bytes that come first, from media at hand.

    Yields:
        One object for each file.
    """
    plan, sketch, estimates = found.plan, found.sketch, found.estimates
    if sketch is None:
        return
    expected = None if estimates is None else seconds_at(plan, estimates, sketch.finish)
    order = np.lexsort((sketch.finish, sketch.finish < 0))
    for index in order.tolist():
        lost = bool(sketch.finish[index] < 0)
        hand = {} if ready is None else {"at_hand": not lost and int(sketch.finish[index]) <= ready}
        yield {
            **hand,
            "store": str(plan.store),
            "path": os.fsdecode(sketch.names[index]),
            "bytes": int(sketch.sizes[index]),
            "begins_after": None if lost else int(sketch.begin[index]),
            "finishes_after": None if lost else int(sketch.finish[index]),
            "finish_seconds": None if lost or expected is None else expected[index],
        }


def write_page(
    output: PlanOutput,
    plans: Mapping[str, SketchedPlan],
    wanted: Wanted,
    *,
    entries: int,
    whole: PlanEstimates | None = None,
) -> None:
    """Write the page, if one is wanted.

    Args:
        output: Where to.
        plans: The plans by heading.
        wanted: What was chosen.
        entries: How many entries that is.
        whole: What is expected of all plans together.
    """
    if output.html is None:
        return
    chosen = [*wanted.patterns, *map(os.fsdecode, wanted.paths or ())]
    stores = [str(found.plan.store) for found in plans.values()]
    facts = [
        ("source", output.source),
        ("version", str(wanted.version)),
        ("chosen", _few(chosen) or "everything"),
        ("without", _few(wanted.excludes)),
        ("entries", f"{entries:,}"),
        ("store", stores[0] if len(stores) == 1 else ""),
    ]
    parts = [
        PagePart(plan=found.plan, sketch=found.sketch, estimates=found.estimates, heading=heading)
        for heading, found in plans.items()
    ]
    page = plan_page(parts, facts=[(name, value) for name, value in facts if value], whole=whole)
    output.html.write_text(page, encoding="utf-8")
    if not output.as_json:
        say(f"page in {shown(str(output.html))}")


def _few(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_FEW])}{', …' if len(names) > _FEW else ''}"
