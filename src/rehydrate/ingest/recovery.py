"""What a writer finds: the containers of a store, how far each is valid, and the cut.

The rules are in ``docs/reference/native-commit.md``, "Recovery".
"""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, DurabilityError, FormatError, PublishError
from rehydrate.formats.native.catalogue import ContainerState
from rehydrate.formats.native.chain import ChainState, ReadAt, commit_before, follow_chain
from rehydrate.formats.native.container import (
    ContainerHeader,
    container_name,
    container_path,
    parse_container_header,
    parse_container_name,
)
from rehydrate.formats.native.layout import HEADER_SIZE
from rehydrate.formats.walk import DATA, STREAM
from rehydrate.ingest.containers import ContainerWriter, sync
from rehydrate.ingest.folders import Folders
from rehydrate.ports import Files
from rehydrate.values import StoreId

__all__ = ["FoundContainer", "Survey", "reader_of", "reopen", "survey"]

_FLAGS: Final = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)


@attrs.frozen(kw_only=True)
class FoundContainer:
    """One container as it lies there.

    Attributes:
        kind: DATA or STREAM.
        container: Container id.
        generation: Generation.
        size: Size of the file.
        header: Its header; ``None`` if that is damaged.
        state: Last commit that holds.
        damage: What is wrong with the committed part; empty if nothing.
        unproven: A sync failed: what lies behind ``state`` may be there and is not believed.
    """

    kind: str
    container: int
    generation: int
    size: int
    header: ContainerHeader | None
    state: ChainState
    damage: str = ""
    unproven: bool = False

    @property
    def path(self) -> str:
        """Store path of the container."""
        return container_path(self.kind, self.container, self.generation)

    def described(self) -> ContainerState:
        """Return the state as manifests name it."""
        return ContainerState(
            kind=self.kind,
            container=self.container,
            generation=self.generation,
            valid_length=self.state.end,
            sequence=self.state.sequence,
            digest=self.state.digest.hex(),
        )


@attrs.frozen
class Survey:
    """All containers of a store.

    Attributes:
        containers: Those with a valid header or known to a manifest, by kind and id.
        next_id: First container id that was never used.
        lost: Containers that a manifest names and that are not there.
    """

    containers: tuple[FoundContainer, ...]
    next_id: int
    lost: tuple[str, ...]

    @property
    def damaged(self) -> tuple[str, ...]:
        """Store paths of containers that cannot be trusted."""
        return (*(found.path for found in self.containers if found.damage), *self.lost)

    def appendable(self, kind: str) -> FoundContainer | None:
        """Return the container that may be appended to, if there is one."""
        candidates = [found for found in self.containers if found.kind == kind]
        last = max(candidates, key=lambda found: found.container, default=None)
        if last is None or last.header is None or last.damage or last.unproven:
            return None
        return None if last.header.tombstone or last.state.sealed else last


def reader_of(files: Files, fd: int) -> ReadAt:
    """Return a function that reads an open container."""

    def read(offset: int, size: int) -> bytes:
        return files.pread(fd, size, offset) if size > 0 else b""

    return read


def survey(
    files: Files, folders: Folders, store: StoreId, known: Iterable[ContainerState]
) -> Survey:
    """Look at all containers.

    Args:
        files: File-system calls.
        folders: Folders of the store.
        store: Identity of the store.
        known: States that manifests name.

    Raises:
        OSError: A container cannot be opened or read.
        DurabilityError: The name of a container that no manifest knows cannot be made to survive.
    """
    states = _farthest(known)
    found: list[FoundContainer] = []
    ids = [state.container for state in states.values()]
    new_names: set[str] = set()
    for kind in (DATA, STREAM):
        for name in sorted(files.listdir(folders.of(kind))):
            parsed = parse_container_name(name)
            if parsed is None:
                continue
            ids.append(parsed[0])
            state = states.pop((kind, *parsed), None)
            if state is None:
                new_names.add(kind)
            container = _look(files, folders.of(kind), store, (kind, *parsed), state)
            if container is not None:
                found.append(container)
    for kind in sorted(new_names):
        sync(files, folders.of(kind), f"the folder {kind}")
    lost = tuple(container_path(*key) for key in sorted(states))
    return Survey(tuple(found), max(ids, default=0) + 1, lost)


_Key = tuple[str, int, int]


def _farthest(known: Iterable[ContainerState]) -> dict[_Key, ContainerState]:
    states: dict[_Key, ContainerState] = {}
    for state in known:
        key = (state.kind, state.container, state.generation)
        if key not in states or states[key].valid_length < state.valid_length:
            states[key] = state
    return states


def _look(
    files: Files, folder_fd: int, store: StoreId, key: _Key, known: ContainerState | None
) -> FoundContainer | None:
    kind, number, generation = key
    name = container_name(number, generation)
    fd = files.open(os.fsencode(name), os.O_RDONLY | _FLAGS, dir_fd=folder_fd)
    try:
        size = files.fstat(fd).st_size
        read = reader_of(files, fd)
        # A run that did not end left this container, or what follows the known state.
        left = known is None or size > known.valid_length
        proven = not left or _prove(files, fd, name)
        header, damage = _header(read, store, key)
        if header is None and known is None:
            return None
        state = ChainState()
        if header is not None and not header.tombstone:
            state, damage = _known_state(read, header, known)
            if left and proven and not damage:
                for stretch in follow_chain(read, header, state, payloads=True):
                    state = stretch.state
        return FoundContainer(
            kind=kind,
            container=number,
            generation=generation,
            size=size,
            header=header,
            state=state,
            damage=damage,
            unproven=not proven,
        )
    finally:
        files.close(fd)


def _header(read: ReadAt, store: StoreId, key: _Key) -> tuple[ContainerHeader | None, str]:
    try:
        header = parse_container_header(read(0, HEADER_SIZE))
    except FormatError as error:
        return None, str(error)
    if (header.kind, header.container, header.generation) != key or header.store != store:
        return None, "the header is that of another container"
    return header, ""


def _known_state(
    read: ReadAt, header: ContainerHeader, known: ContainerState | None
) -> tuple[ChainState, str]:
    if known is None:
        return ChainState(), ""
    try:
        state = commit_before(read, header, known.valid_length)
    except CorruptMetadataError as error:
        return ChainState(), str(error)
    if (state.sequence, state.digest.hex()) != (known.sequence, known.digest):
        return state, "another commit stands where the newest version needs one"
    return state, ""


def _prove(files: Files, fd: int, name: str) -> bool:
    """Have the medium, not its cache, say what a run left that did not live to sync it.

    Its process may have died between write and sync, or after a sync that failed: what is read from
    the cache then proves nothing.
    """
    try:
        sync(files, fd, name)
    except DurabilityError:
        return False
    files.drop_cache(fd)
    return True


def reopen(
    files: Files, folders: Folders, found: FoundContainer, background: Executor
) -> ContainerWriter:
    """Open a container for appending; what lies behind its last commit is cut off.

    Args:
        files: File-system calls.
        folders: Folders of the store.
        found: The container, as :meth:`Survey.appendable` gave it.
        background: Does the writing.

    Raises:
        PublishError: It cannot be opened or cut.
        DurabilityError: A sync failed.
    """
    name = container_name(found.container, found.generation)
    try:
        fd = files.open(os.fsencode(name), os.O_RDWR | _FLAGS, dir_fd=folders.of(found.kind))
    except OSError as error:
        raise PublishError.of(error, f"open {name}") from error
    try:
        if found.size != found.state.end:
            try:
                files.ftruncate(fd, found.state.end)
            except OSError as error:
                raise PublishError.of(error, f"cut {name}") from error
            sync(files, fd, name)
    except BaseException:
        files.close(fd)
        raise
    if found.header is None:
        msg = f"{name} has no header"
        raise CorruptMetadataError(msg)
    return ContainerWriter(files, fd, found.header, found.state, background=background)


def usable(containers: Iterable[FoundContainer]) -> Mapping[int, FoundContainer]:
    """Return the undamaged data containers by id."""
    return {
        found.container: found
        for found in containers
        if found.kind == DATA and found.header is not None and not found.damage
    }
