"""What is said after a restore from a Windows volume, besides what is said after any."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from rehydrate.cli.output import shown, tell
from rehydrate.cli.sizes import counted
from rehydrate.cli.volume_entries import tag_name
from rehydrate.requests import RestoreRequest
from rehydrate.results import FileStatus, RestoreReport

__all__ = ["left_alone", "tell_results"]


def left_alone(done: RestoreReport, requests: Sequence[RestoreRequest]) -> dict[int, int]:
    """Return the reparse tag of each request that was no deduplicated file.

    Args:
        done: What became of the requests.
        requests: The requests.
    """
    found = np.flatnonzero(done.statuses == FileStatus.NOT_DEDUPLICATED).tolist()
    return {index: int.from_bytes(requests[index].stub[:4], "little") for index in found}


def tell_results(
    done: RestoreReport, requests: Sequence[RestoreRequest], lost: Mapping[str, int]
) -> None:
    """Say what was left alone, what could not be checked and what could not be kept.

    Args:
        done: What became of the requests.
        requests: The requests.
        lost: How many files lost each kind of metadata.
    """
    for tag, count in sorted(Counter(left_alone(done, requests).values()).items()):
        tell(f"rehydrate: left out: {tag_name(tag)} ({counted(count, 'entry', 'entries')})")
    if done.unchecked:
        tell(
            f"rehydrate: {counted(len(done.unchecked), 'file')}: whether the stub held newer data"
            " cannot be seen here; nothing hints at it, and what the store has was restored"
        )
    if lost:
        listed = ", ".join(f"{kind} ({counted(count, 'file')})" for kind, count in lost.items())
        tell(
            f"rehydrate: not kept: {shown(listed)}; --windows-metadata says where it can go,"
            " --json lists it by file"
        )
