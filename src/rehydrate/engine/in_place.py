"""Restoring stubs where they stand: the form of the COM call, which takes paths only."""

from collections.abc import Iterable
from typing import Final

import attrs

from rehydrate.engine.restore import Stores, restore_files
from rehydrate.engine.threads import Submits
from rehydrate.errors import RestoreError
from rehydrate.formats.detect import owner_of
from rehydrate.protocols import RestoreObserver
from rehydrate.requests import (
    FileMetadata,
    Overwrite,
    RestoreOptions,
    RestoreRequest,
    TargetIdentity,
)
from rehydrate.results import FileStatus, RestoreReport
from rehydrate.staging.paths import check_target
from rehydrate.staging.reader import open_standing
from rehydrate.staging.root import TargetRoot

__all__ = ["restore_in_place"]

LARGEST_STUB: Final = 64 << 20
REPARSE_DATA: Final = b"system.ntfs_reparse_data"
"""Extended attribute in which the NTFS drivers of Linux show reparse data (ntfs-3g manual)."""
_DEFAULTS: Final = RestoreOptions()
_NO_STUB: Final = b""


def restore_in_place(
    paths: Iterable[str | bytes],
    store: Stores,
    target: TargetRoot,
    *,
    options: RestoreOptions = _DEFAULTS,
    observer: RestoreObserver | None = None,
    executor: Submits | None = None,
) -> RestoreReport:
    """Replace stubs by the files that they stand for.

    A stub is a file whose content is a native stub (``rehydrate export-stubs`` makes them), or a
    file with NTFS reparse data where the driver shows it. Mode, owner, time and user attributes of
    the stub file are carried over to the restored one. A stub that changes while its file is being
    restored is left alone, with :class:`~rehydrate.TargetChangedError`. Files that are no stubs
    are NOT_DEDUPLICATED and stay as they are.

    Args:
        paths: Relative paths of the stub files.
        store: As in :func:`~rehydrate.restore_files`.
        target: The directory that ``paths`` are relative to.
        options: As there; the overwrite policy does not matter here.
        observer: As there.
        executor: As there.

    Returns:
        One result for each path, in order.

    Raises:
        RestoreError: As :func:`~rehydrate.restore_files`.
    """
    requests: list[RestoreRequest] = []
    errors: dict[int, RestoreError] = {}
    for index, path in enumerate(paths):
        try:
            requests.append(_request(target, path))
        except RestoreError as error:
            errors[index] = error
            requests.append(RestoreRequest(_NO_STUB, path))
    report = restore_files(
        requests,
        store,
        target,
        options=attrs.evolve(options, overwrite=Overwrite.ALWAYS),
        observer=observer,
        executor=executor,
    )
    statuses = report.statuses.copy()
    statuses[list(errors)] = FileStatus.FAILED
    return attrs.evolve(report, statuses=statuses, errors={**report.errors, **errors})


def _request(target: TargetRoot, path: str | bytes) -> RestoreRequest:
    """Read the stub that stands at a path.

    Raises:
        StagingError: The path is refused, or nothing can be read there.
    """
    raw = check_target(path)
    with open_standing(target, raw) as standing:
        status = standing.status
        stub = standing.attribute(REPARSE_DATA)
        if stub is None and status.st_size <= LARGEST_STUB:
            stub = standing.read(0, status.st_size)
        if stub is None or owner_of(stub) is None:
            return RestoreRequest(_NO_STUB, path)
        return RestoreRequest(
            stub,
            path,
            metadata=FileMetadata(
                mode=status.st_mode & 0o7777,
                mtime_ns=status.st_mtime_ns,
                uid=status.st_uid,
                gid=status.st_gid,
                xattrs=standing.attributes(b"user."),
            ),
            replaces=TargetIdentity.of(status),
        )
