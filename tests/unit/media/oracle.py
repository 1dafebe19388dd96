"""The models of the tape once more, for one step at a time and in plain numbers."""

from rehydrate.media.geometry import TapeFormat
from rehydrate.media.locate import Regression, TapeModel

Spot = tuple[int, float, int]
"""Wrap, metres, direction."""


def spot(tape: TapeFormat, address: int, *, after: bool = False) -> Spot:
    """Locate a byte of a tape with one partition and equal wraps."""
    assert tape.pair_bytes is not None
    size = tape.pair_bytes // 2
    wrap, within = divmod(address, size)
    share = (within + after) / size
    length = 0.965 * tape.length_m
    return (wrap, share * length, 1) if wrap % 2 == 0 else (wrap, (1 - share) * length, -1)


def motion(tape: TapeFormat, model: TapeModel, before: Spot, after: Spot) -> float:
    assert tape.wraps is not None
    assert tape.pair_bytes is not None
    (w1, x1, d1), (w2, x2, d2) = before, after
    ahead = (x2 - x1) * d1
    if w1 == w2 and ahead >= 0:
        speed = model.native_rate / (tape.pair_bytes / 2 / (0.965 * tape.length_m))
        return min(ahead / speed, model.command_s + ahead / model.locate_speed)
    aim = x2 - d2 * model.run_up_m
    move = (aim > x1) - (aim < x1) or d2
    seconds = model.command_s + abs(aim - x1) / model.locate_speed
    seconds += model.turn_s * ((move != d1) + (move != d2))
    bands = [wrap // (tape.wraps // 4) for wrap in (w1, w2)]
    return seconds + model.wrap_s * (w1 != w2) + model.band_s * (bands[0] != bands[1])


def regression(
    tape: TapeFormat, model: Regression, before: Spot, after: Spot, rate: float
) -> float:
    assert tape.wraps is not None
    assert tape.pair_bytes is not None
    (w1, x1, d1), (w2, x2, d2) = before, after
    ahead = (x2 - x1) * d1
    half = 0.965 * tape.length_m / 2
    bands = [wrap // (tape.wraps // 4) for wrap in (w1, w2)]
    seconds = (
        4.29
        + 6.69 * (w1 != w2)
        + 3.20 * (bands[0] != bands[1])
        - 6.04 * ((x1 > half) != (x2 > half))
        + 5.22 * (d1 != d2)
        + 11.32 * (w1 == w2 and ahead < 0)
        + 0.0006192 * abs(x2 - x1) / model.step_m
    )
    seconds = max(seconds, 0.0)
    if w1 == w2 and ahead >= 0:
        seconds = min(seconds, ahead * tape.pair_bytes / 2 / (0.965 * tape.length_m) / rate)
    return seconds
