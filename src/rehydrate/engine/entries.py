"""The entries of one store's job: which requests are files, directories, links, further names."""

from collections.abc import Mapping, Sequence

import attrs
import numpy as np
from blake3 import blake3

from rehydrate.chunks import Ints
from rehydrate.engine.outcome import Outcome
from rehydrate.engine.selection import Requests
from rehydrate.errors import RequestError
from rehydrate.formats.walk import DIRECTORY, FILE, SYMLINK, StubTable
from rehydrate.requests import Recall, RestoreOptions
from rehydrate.staging.table import FileTable

__all__ = ["Entries", "sort_entries"]


@attrs.frozen(eq=False)
class Entries:
    """The requests of a job by what they are.

    Attributes:
        files: Regular files, each inode once, as positions in the stub table; file number ``n``
            of staging is ``files[n]``.
        requests: Request index of each file number.
        table: The files as staging sees them.
        directories: Positions of directories, parents first.
        symlinks: Positions of symbolic links.
        further: Further names: position -> file number of the first name of the inode.
    """

    files: Ints
    requests: Ints
    table: FileTable
    directories: Sequence[int]
    symlinks: Sequence[int]
    further: Mapping[int, int]


def sort_entries(
    stubs: StubTable,
    indexes: Sequence[int],
    requests: Requests,
    options: RestoreOptions,
    *,
    outcome: Outcome,
    has_recall: bool,
) -> Entries:
    """Sort the entries of a store and apply the rules for recalled data.

    Args:
        stubs: Decoded stubs of this store.
        indexes: Request index of each stub.
        requests: All requests of the call.
        options: What the caller asked for.
        outcome: Where entries that fail here are decided.
        has_recall: Whether the format's stubs can hold newer data.
    """
    for position, error in stubs.errors.items():
        outcome.fail(indexes[position], error)
    if has_recall or requests.sizes or requests.own_data:
        _apply_recall(stubs, indexes, requests, options, outcome=outcome, has_recall=has_recall)
    decided = set(indexes).difference(outcome.alive(indexes))
    kinds = stubs.kind.tolist()
    groups = _link_groups(stubs, indexes, requests)
    files: list[int] = []
    first_of_group: dict[int, int] = {}
    further: dict[int, int] = {}
    directories: list[int] = []
    symlinks: list[int] = []
    for position, kind in enumerate(kinds):
        if decided and indexes[position] in decided:
            continue
        if kind == FILE:
            group = groups[position]
            if group and group in first_of_group:
                further[position] = first_of_group[group]
                continue
            if group:
                first_of_group[group] = len(files)
            files.append(position)
        elif kind == DIRECTORY:
            directories.append(position)
        elif kind == SYMLINK:
            symlinks.append(position)
    directories.sort(key=lambda position: requests.targets[indexes[position]].split(b"/"))
    chosen = np.array(files, np.int64)
    owners = np.array(indexes, np.int64)[chosen]
    table = _file_table(stubs, chosen, owners, requests, frozenset(further.values()))
    return Entries(chosen, owners, table, directories, symlinks, further)


def _link_groups(stubs: StubTable, indexes: Sequence[int], requests: Requests) -> list[int]:
    """Return the link group of each stub: what the request says, else what the stub says."""
    groups: list[int] = stubs.link_group.tolist()
    if not requests.link_groups:
        return groups
    return [requests.link_groups.get(i, g) for i, g in zip(indexes, groups, strict=True)]


def _file_table(
    stubs: StubTable, files: Ints, owners: Ints, requests: Requests, linked: frozenset[int]
) -> FileTable:
    numbers = owners.tolist()
    paths = [requests.targets[index] for index in numbers]
    keys = [
        blake3(len(path).to_bytes(8, "little") + path + requests.stubs[index]).digest(16)
        for path, index in zip(paths, numbers, strict=True)
    ]
    size, mode = stubs.size[files], stubs.mode[files]
    mtime, uid, gid = stubs.mtime_ns[files], stubs.uid[files], stubs.gid[files]
    xattrs = {}
    if stubs.xattrs:
        for number, position in enumerate(files.tolist()):
            if position in stubs.xattrs:
                xattrs[number] = stubs.xattrs[position]
    if requests.metadata or requests.sizes:
        for number, index in enumerate(numbers):
            size[number] = max(int(size[number]), requests.sizes.get(index, 0))
            given = requests.metadata.get(index)
            if given is None:
                continue
            mode[number] = mode[number] if given.mode is None else given.mode
            mtime[number] = mtime[number] if given.mtime_ns is None else given.mtime_ns
            uid[number] = uid[number] if given.uid is None else given.uid
            gid[number] = gid[number] if given.gid is None else given.gid
            if given.xattrs is not None:
                xattrs[number] = given.xattrs
    return FileTable(
        paths=paths,
        size=size,
        mode=mode,
        mtime_ns=mtime,
        uid=uid,
        gid=gid,
        keys=keys,
        xattrs=xattrs,
        replaces={
            number: requests.replaces[index]
            for number, index in enumerate(numbers)
            if index in requests.replaces
        }
        if requests.replaces
        else {},
        linked=linked,
    )


def _apply_recall(
    stubs: StubTable,
    indexes: Sequence[int],
    requests: Requests,
    options: RestoreOptions,
    *,
    outcome: Outcome,
    has_recall: bool,
) -> None:
    """Refuse stubs that may hold newer data than the chunk store, unless told otherwise."""
    for position, index in enumerate(indexes):
        known = index in requests.own_data
        size = requests.sizes.get(index, int(stubs.size[position]))
        sign = bool(stubs.recall_sign[position]) or size != int(stubs.size[position])
        if outcome.is_decided(index) or stubs.kind[position] != FILE:
            continue
        if known:
            if size < int(stubs.size[position]) and options.recall is Recall.REFUSE:
                what = f"the file was cut to {size} bytes; its stream map ends behind that"
                outcome.fail(index, RequestError(what, code="recall.truncated"))
                continue
            end = max((own.extent.end for own in requests.own_data[index]), default=0)
            if end > max(size, int(stubs.size[position])):
                what = f"the stub's own data end at {end}, behind the end of the file"
                outcome.fail(index, RequestError(what, code="own-data.range"))
            continue
        if sign and options.recall is Recall.REFUSE:
            outcome.fail(
                index,
                RequestError(
                    "the stub may hold data newer than the chunk store: give own_data, or ask to "
                    "ignore it",
                    code="recall.unknown",
                ),
            )
        elif sign:
            outcome.store_version.add(index)
        elif has_recall:
            outcome.unchecked.add(index)
