"""Frozen objects become waves: what can be thawed at all, within the limit, cut by tier."""

from collections.abc import Sequence

from rehydrate.errors import LimitError, RequestError, RestoreError
from rehydrate.media.tiers import DAY, ThawOptions
from rehydrate.stores.objects.lineup import Wave
from rehydrate.stores.objects.quote import plans_of, split_off
from rehydrate.stores.objects.tariff import Tariff
from rehydrate.values import StorePath

__all__ = ["waves_of"]


def waves_of(
    paths: Sequence[StorePath], speed: str, tariff: Tariff, options: ThawOptions
) -> tuple[list[Wave], dict[StorePath, RestoreError]]:
    """Cut objects into waves.

    Args:
        paths: Objects in the order of reading.
        speed: Way of the thaw.
        tariff: What they cost.
        options: Choices; ``max_cost`` is what is left of the limit.

    Returns:
        The waves in the order of reading, and why other objects will not be thawed.
    """
    sizes: dict[str, dict[StorePath, int]] = {}
    for path in paths:
        sizes.setdefault(tariff.tier(path), {})[path] = tariff.size(path)
    sizes, problems = split_off(sizes, speed, tariff.table, options)
    columns = {tier: list(column.values()) for tier, column in sizes.items()}
    try:
        plans = plans_of(columns, speed, tariff.table, options)
    except LimitError as error:
        return [], problems | {path: error for column in sizes.values() for path in column}
    places = {path: place for place, path in enumerate(paths)}
    found: dict[int, Wave] = {}
    for tier, plan in plans.items():
        members = list(sizes[tier].items())
        quick = tariff.table.offer(tier, speed).quick_s
        for cut in plan.waves:
            # The first goes out beside what was asked for before, unless copies might vanish then.
            reading = -(-cut.stored_bytes // options.read_rate)
            early = quick + options.days * DAY - options.margin_s - reading
            found[places[members[cut.first][0]]] = Wave(
                dict(members[cut.first : cut.end]),
                float(cut.ready_s - cut.request_s),
                cut.lead_s if cut.first else early,
                cut.price.total,
            )
        if not plan.waves:
            none = RequestError(
                f"the price table says that objects of {tier!r} need no thaw", code="thaw.offer"
            )
            problems |= dict.fromkeys(sizes[tier], none)
    return [wave for _, wave in sorted(found.items())], problems
