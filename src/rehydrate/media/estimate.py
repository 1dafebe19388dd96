"""When files are finished and what has to be kept until then, for a sequence of extents."""

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.errors import RequestError
from rehydrate.media.geometry import Floats, Ints

__all__ = ["RestoreEstimate", "Uses", "estimate", "finish_times", "unfinished_peak"]

NEVER = -1


def _numbers(values: npt.ArrayLike) -> Ints:
    column = np.asarray(values)
    if column.ndim != 1 or (column.size and not np.issubdtype(column.dtype, np.integer)):
        raise RequestError("columns of uses are whole numbers", code="estimate.uses")
    return column.astype(np.int64)


@attrs.frozen(eq=False)
class Uses:
    """Which files need which extents: one element for each pair.

    Attributes:
        extent: Number of the extent.
        file: Number of the file.
        length: Bytes of the file that come from this extent.
        files: Number of files.
    """

    extent: Ints = attrs.field(converter=_numbers)
    file: Ints = attrs.field(converter=_numbers)
    length: Ints = attrs.field(converter=_numbers)
    files: int

    def __attrs_post_init__(self) -> None:
        """Refuse columns that do not belong together.

        Raises:
            RequestError: With code ``"estimate.uses"``.
        """
        same = len(self.extent) == len(self.file) == len(self.length)
        if not same or self.files < 0 or self.file.max(initial=-1) >= self.files:
            raise RequestError("uses name files that there are not", code="estimate.uses")
        if min(column.min(initial=0) for column in (self.extent, self.file, self.length)) < 0:
            raise RequestError("uses are numbers of at least 0", code="estimate.uses")


@attrs.frozen(eq=False)
class RestoreEstimate:
    """What a restore takes, before anything is touched.

    Attributes:
        finish_s: Seconds after which each file is complete; infinite where an extent never comes,
            0 for files that need none.
        total_s: Seconds until the last of those that do come.
        peak_bytes: Most bytes of unfinished files at any moment.
        incomplete: Files that never are.
    """

    finish_s: Floats
    total_s: float
    peak_bytes: int
    incomplete: int


def _places(uses: Uses, order: Ints) -> Ints:
    """Return the step of each use, or NEVER if its extent is not in the order."""
    highest = max(uses.extent.max(initial=-1), order.max(initial=-1)) + 1
    place = np.full(highest, NEVER, np.int64)
    place[order] = np.arange(len(order))
    return place[uses.extent]


def finish_times(uses: Uses, order: Ints, ends_s: Floats) -> Floats:
    """Return the seconds after which each file is complete, shape ``(files,)``.

    Args:
        uses: Who needs what.
        order: Extents in the order of reading, each at most once.
        ends_s: When each step of it is done; with several drives they need not ascend.
    """
    place = _places(uses, order)
    done = np.where(place == NEVER, np.inf, np.append(ends_s, np.inf)[place])
    finish = np.zeros(uses.files)
    np.maximum.at(finish, uses.file, done)
    return finish


def unfinished_peak(uses: Uses, order: Ints) -> int:
    """Return the most bytes that have come for files that miss others, at any step.

    A byte counts from the step that brings it, the step that completes its file included. Files
    that are never complete count nothing: they fail before they begin.

    Args:
        uses: Who needs what.
        order: Extents in the order of reading, each at most once.
    """
    place = _places(uses, order)
    lost = np.zeros(uses.files, np.bool_)
    lost[uses.file[place == NEVER]] = True
    kept = ~lost[uses.file]
    place, file, length = place[kept], uses.file[kept], uses.length[kept]
    end = np.full(uses.files, NEVER, np.int64)
    np.maximum.at(end, file, place)
    # Python's numbers do not overflow; only hostile lengths need them.
    weight = length if float(length.sum(dtype=np.float64)) < 2.0**62 else length.astype(object)
    come = np.zeros(len(order) + 1, weight.dtype)
    gone = np.zeros(len(order) + 1, weight.dtype)
    np.add.at(come, place, weight)
    np.add.at(gone, end[file] + 1, weight)
    return int(np.cumsum(come - gone).max(initial=0))


def estimate(uses: Uses, order: Ints, ends_s: Floats) -> RestoreEstimate:
    """Return finish times and the peak together.

    Args:
        uses: Who needs what.
        order: Extents in the order of reading, each at most once.
        ends_s: When each step is done: positioning, mounts and thaws included.

    Raises:
        RequestError: With code ``"estimate.uses"`` if the order is none.
    """
    if len(order) != len(ends_s) or len(np.unique(order)) != len(order) or order.min(initial=0) < 0:
        raise RequestError("each extent comes at most once, and has an end", code="estimate.uses")
    finish = finish_times(uses, order, ends_s)
    comes = np.isfinite(finish)
    return RestoreEstimate(
        finish_s=finish,
        total_s=float(finish[comes].max(initial=0.0)),
        peak_bytes=unfinished_peak(uses, order),
        incomplete=int(np.count_nonzero(~comes)),
    )
