"""A native store open for writing: containers of both kinds, and the one way to publish."""

import os
import uuid
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from rehydrate.errors import PublishError, StoreError
from rehydrate.formats.native.catalogue import (
    ContainerState,
    Manifest,
    encode_manifest,
    manifest_name,
    seal_manifest,
)
from rehydrate.formats.native.container import ContainerHeader
from rehydrate.formats.native.layout import COMPRESSION_NONE, KIND_CHUNK, KIND_MANIFEST
from rehydrate.formats.walk import DATA, STREAM
from rehydrate.ingest.containers import ContainerWriter, RecordPlace, create_container
from rehydrate.ingest.folders import Folders, opened_folders, put_file, remove_leftovers
from rehydrate.ingest.lock import locked
from rehydrate.ingest.recovery import Survey, reopen, survey
from rehydrate.ingest.versions import Versions
from rehydrate.ports import Clock, Files, RandomSource, SystemClock, SystemFiles, SystemRandom
from rehydrate.stores.layout import (
    CONFIGURATION_NAME,
    DATA_FOLDER,
    INDEX_FOLDER,
    LOCK_NAME,
    STREAM_FOLDER,
    VERSIONS_FOLDER,
    ChunkerSettings,
    StoreConfiguration,
    read_configuration,
)
from rehydrate.values import ReadableBuffer

__all__ = ["StoreWriter", "World", "create_store", "opened_root", "opened_store"]

_DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_OURS: Final = frozenset({DATA_FOLDER, STREAM_FOLDER, VERSIONS_FOLDER, INDEX_FOLDER, LOCK_NAME})


@attrs.frozen
class World:
    """The ports of a run.

    Attributes:
        files: File-system calls on the store.
        clock: Time.
        random: Salts and identities.
    """

    files: Files = attrs.Factory(SystemFiles)
    clock: Clock = attrs.Factory(SystemClock)
    random: RandomSource = attrs.Factory(SystemRandom)


def create_store(
    path: str | os.PathLike[str],
    *,
    chunker: ChunkerSettings | None = None,
    compression: str = "zstd",
    level: int = 3,
    capacity: int = 1 << 30,
    world: World | None = None,
) -> StoreConfiguration:
    """Create an empty store.

    Args:
        path: Directory of the store; made if missing, must be empty otherwise.
        chunker: How files are cut.
        compression: ``"zstd"`` or ``"none"``.
        level: Compression level.
        capacity: Size in bytes from which on a container is sealed.
        world: The ports to use.

    Returns:
        The configuration.

    Raises:
        StoreError: The directory cannot be made or holds something else, or is locked.
        PublishError: The configuration cannot be written.
    """
    world = world or World()
    files = world.files
    configuration = StoreConfiguration(
        store=uuid.UUID(bytes=world.random.bytes(16), version=4),
        chunker=chunker or ChunkerSettings(),
        compression=compression,
        level=level,
        capacity=capacity,
    )
    root = Path(path)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create {root}: {error.strerror}") from error
    with opened_root(files, root) as root_fd, locked(files, root_fd, str(root)):
        names = set(files.listdir(root_fd))
        if CONFIGURATION_NAME in names:
            raise StoreError(f"{root} is a store already", code="store.exists")
        foreign = sorted(name for name in names - _OURS if not name.startswith("."))
        if foreign or _has_containers(root):
            what = foreign[0] if foreign else "containers"
            raise StoreError(
                f"{root} is not empty (it has {what}) and no rehydrate store: name an empty "
                "directory",
                code="store.foreign",
            )
        remove_leftovers(files, root_fd)
        with opened_folders(files, root_fd, str(root)):
            put_file(files, root_fd, CONFIGURATION_NAME, configuration.as_json())
    return configuration


def _has_containers(root: Path) -> bool:
    return any(
        True
        for folder in (DATA_FOLDER, STREAM_FOLDER, VERSIONS_FOLDER)
        if (root / folder).is_dir()
        for _ in (root / folder).iterdir()
    )


@contextmanager
def opened_root(files: Files, path: Path) -> Iterator[int]:
    """Open the directory of a store.

    Raises:
        StoreError: It cannot be opened.
    """
    try:
        fd = files.open(os.fsencode(path), _DIRECTORY)
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error
    try:
        yield fd
    finally:
        files.close(fd)


class _Kind:
    """The containers of one kind: the open one and the states of all."""

    def __init__(self, kind: str, folder_fd: int, writer: ContainerWriter | None) -> None:
        self.kind = kind
        self.folder_fd = folder_fd
        self.writer = writer

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


class StoreWriter:
    """Appends to a store; belongs to one thread and lives under the store's lock."""

    def __init__(
        self,
        world: World,
        folders: Folders,
        configuration: StoreConfiguration,
        versions: Versions,
        found: Survey,
        *,
        abandoned: Collection[str],
    ) -> None:
        """Take over what was found; see :func:`opened_store`."""
        self.world = world
        self.folders = folders
        self.configuration = configuration
        self.versions = versions
        self.found = found
        self.data_bytes = 0
        self._abandoned = abandoned
        self._background = ThreadPoolExecutor(1, thread_name_prefix="ingest-write")
        self._next_id = found.next_id
        self._states: dict[tuple[str, int], ContainerState] = {
            (container.kind, container.container): container.described()
            for container in found.containers
            if container.header is not None and not container.damage
        }
        self._headers = {
            container.container: container.header
            for container in found.containers
            if container.header is not None and not container.damage
        }
        self._kinds = {
            kind: _Kind(kind, folders.of(kind), self._reopened(kind)) for kind in (DATA, STREAM)
        }

    def _reopened(self, kind: str) -> ContainerWriter | None:
        last = self.found.appendable(kind)
        # A manifest that cannot be read may need what looks like a torn end: nothing is cut then.
        if last is None or last.path in self._abandoned or self.versions.unreadable:
            return None
        return reopen(self.world.files, self.folders, last, self._background)

    def _writer(self, kind: str) -> ContainerWriter:
        slot = self._kinds[kind]
        if slot.writer is None:
            header = ContainerHeader(
                kind=kind,
                store=self.configuration.store,
                container=self._next_id,
                generation=1,
                salt=self.world.random.bytes(16),
                compat=self.configuration.compat,
                read_compat=self.configuration.read_compat,
                incompat=self.configuration.incompat,
                created_ns=self.world.clock.time_ns(),
                capacity=self.configuration.capacity,
                configuration=self.configuration.as_mapping(),
            )
            self._next_id += 1
            fd = create_container(self.world.files, slot.folder_fd, header)
            self._headers[header.container] = header
            slot.writer = ContainerWriter(self.world.files, fd, header, background=self._background)
        return slot.writer

    def append_chunk(
        self, stored: ReadableBuffer, *, logical_size: int, digest: bytes, compression: int
    ) -> RecordPlace:
        """Append a chunk to a data container.

        Args:
            stored: Bytes as stored.
            logical_size: Size before compression.
            digest: BLAKE3 before compression.
            compression: How it was made.
        """
        place = self._writer(DATA).append(
            KIND_CHUNK,
            stored,
            logical_size=logical_size,
            digest=digest,
            compression=compression,
        )
        self.data_bytes += place.length
        self._seal_if_full(DATA)
        return place

    def append_stream(self, kind: int, payload: bytes, digest: bytes) -> RecordPlace:
        """Append a record (stream map, segment) to a stream container, plain.

        Args:
            kind: Kind of record.
            payload: Its bytes.
            digest: Their BLAKE3.
        """
        place = self._writer(STREAM).append(
            kind,
            payload,
            logical_size=len(payload),
            digest=digest,
            compression=COMPRESSION_NONE,
        )
        self._seal_if_full(STREAM)
        return place

    def _seal_if_full(self, kind: str) -> None:
        slot = self._kinds[kind]
        if slot.writer is not None and slot.writer.full:
            self._commit(kind)
            slot.close()

    def _commit(self, kind: str, *, durable: bool = True) -> None:
        writer = self._kinds[kind].writer
        if writer is None:
            return
        writer.commit()
        if durable:
            writer.sync()
        self._states[kind, writer.header.container] = writer.described()

    def commit_data(self) -> None:
        """Make all chunks survive: step 1 of publishing.

        Raises:
            DurabilityError: A sync failed.
        """
        self._commit(DATA)

    def states(self) -> tuple[ContainerState, ...]:
        """Return the last commit of all undamaged containers."""
        return tuple(self._states[key] for key in sorted(self._states))

    def publish(self, manifest: Manifest) -> None:
        """Publish a version: steps 1 to 5 of ``native-commit.md``, in this order.

        Args:
            manifest: The version; ``containers`` is filled in here.

        Raises:
            DurabilityError: A sync failed; the version is not published.
            PublishError: A write failed; the version is not published.
        """
        self._commit(DATA)
        # The manifest names the state of its stream container after this commit, so it must be
        # made before the manifest's own record; both commits share the sync.
        self._commit(STREAM, durable=False)
        payload = encode_manifest(attrs.evolve(manifest, containers=self.states()))
        sealed = seal_manifest(payload)
        stream = self._writer(STREAM)
        stream.append(
            KIND_MANIFEST, payload, logical_size=len(payload), digest=sealed[len(payload) :]
        )
        self._commit(STREAM)
        if stream.full:
            self._kinds[STREAM].close()
        name = manifest_name(manifest.version)
        put_file(self.world.files, self.folders.versions, name, sealed)

    def committed_data(self) -> Sequence[tuple[ContainerHeader, int]]:
        """Return the undamaged data containers with the end of their last commit."""
        return [
            (header, self._states[DATA, header.container].valid_length)
            for header in self._headers.values()
            if (DATA, header.container) in self._states
        ]

    def close(self) -> None:
        """Close the containers; what is not committed is lost."""
        for slot in self._kinds.values():
            slot.close()
        self._background.shutdown()


@contextmanager
def opened_store(
    path: str | os.PathLike[str],
    world: World | None = None,
    abandoned: Collection[str] = (),
) -> Iterator[StoreWriter]:
    """Open a store for writing: lock, recover, yield, close.

    Args:
        path: Directory of the store.
        world: The ports to use.
        abandoned: Containers (store paths) that must not be appended to any more.

    Raises:
        StoreError: This is no store, it is locked, or it cannot be written.
        FormatError: Its configuration is damaged or newer than this release.
    """
    world = world or World()
    configuration = read_configuration(path)
    configuration.check_writable()
    name = os.fspath(path)
    files = world.files
    with (
        opened_root(files, Path(path)) as root_fd,
        locked(files, root_fd, name),
        opened_folders(files, root_fd, name) as folders,
    ):
        try:
            remove_leftovers(files, folders.versions)
            remove_leftovers(files, folders.index)
            versions = Versions(files, folders)
            newest = next(versions.newest_first(), None)
            known = () if newest is None else newest.containers
            found = survey(files, folders, configuration.store, known)
        except PublishError:
            raise
        except OSError as error:
            raise StoreError(f"cannot read {name}: {error.strerror}") from error
        writer = StoreWriter(world, folders, configuration, versions, found, abandoned=abandoned)
        try:
            yield writer
        finally:
            writer.close()
