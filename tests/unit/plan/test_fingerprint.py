import uuid

import numpy as np

from rehydrate.chunks import ChunkTable
from rehydrate.plan.fingerprint import job_fingerprint
from tests.unit.plan.oracle import Row, table_of

STORE = uuid.UUID(int=1)
FILES = [[Row(1, 8), Row(1, 40)], [Row(2, 8)]]


def test_equal_jobs_have_equal_fingerprints() -> None:
    found = job_fingerprint(STORE, table_of(FILES))
    assert found == job_fingerprint(STORE, table_of(FILES), np.ones(3, np.bool_))
    assert len(found) == 64
    assert set(found) <= set("0123456789abcdef")


def test_the_fingerprint_stays_from_release_to_release() -> None:
    assert job_fingerprint(STORE, table_of(FILES)) == GOLDEN


def test_whatever_makes_the_job_changes_the_fingerprint() -> None:
    table = table_of(FILES)
    moved = ChunkTable(rows=table.rows, row_ptr=np.array([0, 1, 3], np.int64))
    found = {
        job_fingerprint(STORE, table),
        job_fingerprint(uuid.UUID(int=2), table),
        job_fingerprint(STORE, table_of([[Row(1, 8), Row(1, 41)], [Row(2, 8)]])),
        job_fingerprint(STORE, moved),
        job_fingerprint(STORE, table, np.array([True, False, True])),
        job_fingerprint(STORE, table, extra=b"x"),
        job_fingerprint(STORE, table_of([])),
    }
    assert len(found) == 7


GOLDEN = "dede5edd70ea446a9fdb5bcce4015ba21837174589586ed7d8d79939c59fcbff"
