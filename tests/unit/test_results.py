"""A report speaks for every request without an object for each."""

import numpy as np
import pytest

from rehydrate.errors import (
    DDP_E_FILE_CORRUPT,
    DDP_E_JOB_COMPLETED_PARTIAL_SUCCESS,
    S_FALSE,
    S_OK,
    ChunkMismatchError,
    PublishError,
    RestoreError,
)
from rehydrate.results import AtTarget, FileStatus, ReadCounters, RestoreReport

NEW, OLD = list(AtTarget).index(AtTarget.NEW), list(AtTarget).index(AtTarget.OLD)


def _report(*statuses: FileStatus, errors: dict[int, RestoreError] | None = None) -> RestoreReport:
    count = len(statuses)
    return RestoreReport(
        targets=[b"f%d" % number for number in range(count)],
        statuses=np.array(statuses, np.uint8),
        at_targets=np.full(count, NEW, np.uint8),
        sizes=np.arange(count, dtype=np.int64),
        errors=errors or {},
        lost={0: ("mode",)} if count else {},
        unchecked=frozenset({1}),
    )


def test_results_align_with_requests() -> None:
    report = _report(FileStatus.RESTORED, FileStatus.SKIPPED_SAME)
    first, second = report.results
    assert (first.index, first.target, first.size) == (0, "f0", 0)
    assert first.metadata_lost == ("mode",)
    assert first.recall is None
    assert (second.status, second.recall) == (FileStatus.SKIPPED_SAME, "unchecked")


def test_names_that_are_no_text_survive() -> None:
    report = RestoreReport([b"\xff"], np.array([1], np.uint8), np.zeros(1, np.uint8),
                           np.zeros(1, np.int64), {})  # fmt: skip
    assert report[0].target.encode("utf-8", "surrogateescape") == b"\xff"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((), S_OK),
        ((FileStatus.RESTORED, FileStatus.SKIPPED_SAME), S_OK),
        ((FileStatus.NOT_DEDUPLICATED, FileStatus.NOT_DEDUPLICATED), S_FALSE),
        ((FileStatus.NOT_DEDUPLICATED, FileStatus.RESTORED), S_OK),
        ((FileStatus.RESTORED, FileStatus.FAILED), DDP_E_JOB_COMPLETED_PARTIAL_SUCCESS),
        ((FileStatus.FAILED, FileStatus.FAILED), DDP_E_FILE_CORRUPT),
    ],
    ids=["empty", "all good", "no stubs", "some no stubs", "partly", "none"],
)
def test_overall_code(statuses: tuple[FileStatus, ...], expected: int) -> None:
    errors: dict[int, RestoreError] = {
        index: ChunkMismatchError("bad")
        for index, status in enumerate(statuses)
        if status is FileStatus.FAILED
    }
    assert _report(*statuses, errors=errors).hresult == expected


def test_a_published_file_without_its_mode_is_a_failure_of_the_run() -> None:
    report = _report(FileStatus.RESTORED, errors={0: PublishError("no mode")})
    assert not report.ok
    assert [failure.index for failure in report.failures] == [0]
    assert report.hresult == S_OK


def test_raise_for_failures_raises_all() -> None:
    errors: dict[int, RestoreError] = {0: ChunkMismatchError("a"), 1: ChunkMismatchError("b")}
    with pytest.raises(ExceptionGroup) as caught:
        _report(FileStatus.FAILED, FileStatus.FAILED, errors=errors).raise_for_failures()
    assert len(caught.value.exceptions) == 2
    _report(FileStatus.RESTORED).raise_for_failures()


def test_counts_name_only_what_occurs() -> None:
    report = _report(FileStatus.RESTORED, FileStatus.FAILED, FileStatus.RESTORED)
    assert report.counts == {FileStatus.RESTORED: 2, FileStatus.FAILED: 1}


def test_amplification() -> None:
    assert ReadCounters().amplification == pytest.approx(1.0)
    assert ReadCounters(bytes_read=110, bytes_needed=100).amplification == pytest.approx(1.1)
