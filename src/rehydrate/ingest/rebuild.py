"""Making configuration, manifests and index again from the containers alone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
from blake3 import blake3

from rehydrate.errors import CorruptMetadataError, FormatError, RestoreError, StoreError
from rehydrate.formats.native.catalogue import (
    Manifest,
    decode_manifest,
    manifest_name,
    seal_manifest,
)
from rehydrate.formats.native.chain import every_record
from rehydrate.formats.native.container import (
    ContainerHeader,
    parse_commit,
    parse_container_header,
    parse_container_name,
)
from rehydrate.formats.native.layout import HEADER_SIZE, KIND_COMMIT, KIND_MANIFEST
from rehydrate.formats.native.record import RecordHeader
from rehydrate.formats.walk import DATA, STREAM
from rehydrate.ingest.folders import Folders, opened_folders, put_file, remove_leftovers
from rehydrate.ingest.index import ChunkIndex, Cover
from rehydrate.ingest.lock import locked
from rehydrate.ingest.recovery import reader_of, survey, usable
from rehydrate.ingest.store import World, opened_root
from rehydrate.ingest.versions import Versions
from rehydrate.ports import Files
from rehydrate.stores.layout import (
    CONFIGURATION_NAME,
    DATA_FOLDER,
    STREAM_FOLDER,
    StoreConfiguration,
    read_configuration,
)

__all__ = ["RebuildReport", "rebuild_store"]

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@attrs.frozen(kw_only=True)
class RebuildReport:
    """What was made again.

    Attributes:
        configuration: Whether the configuration was.
        versions: Numbers of the versions whose manifests were.
        kept: Numbers of the versions whose manifests were there and valid.
        unreadable: Versions with a damaged manifest file and no record to make it from: why.
        chunks: Whether the index was; always true.
        damaged_containers: Containers that could not be used.
    """

    configuration: bool
    versions: tuple[int, ...]
    kept: tuple[int, ...]
    unreadable: dict[int, str]
    chunks: bool
    damaged_containers: tuple[str, ...]


def rebuild_store(path: str | os.PathLike[str], *, world: World | None = None) -> RebuildReport:
    """Make everything again that can be derived from the containers of a store.

    Args:
        path: Directory of the store.
        world: The ports to use.

    Raises:
        StoreError: There are no containers, they disagree about the store, or it is locked.
        PublishError: A write failed.
    """
    world = world or World()
    files, root = world.files, Path(path)
    if not ((root / DATA_FOLDER).is_dir() or (root / STREAM_FOLDER).is_dir()):
        raise StoreError(
            f"{root} has neither a {DATA_FOLDER} nor a {STREAM_FOLDER} folder: there is nothing "
            "to rebuild from",
            code="store.unknown",
        )
    with (
        opened_root(files, root) as root_fd,
        locked(files, root_fd, str(root)),
        opened_folders(files, root_fd, str(root)) as folders,
    ):
        for folder in (root_fd, folders.versions, folders.index):
            remove_leftovers(files, folder)
        configuration, made = _configuration(files, folders, root)
        versions, kept, unreadable = _manifests(files, folders, configuration)
        damaged = _index(files, folders, configuration)
        return RebuildReport(
            configuration=made,
            versions=versions,
            kept=kept,
            unreadable=unreadable,
            chunks=True,
            damaged_containers=damaged,
        )


def _headers(files: Files, folders: Folders) -> Iterator[tuple[ContainerHeader, str]]:
    """Iterate the containers with a valid header, by kind and id."""
    for kind in (DATA, STREAM):
        for name in sorted(files.listdir(folders.of(kind))):
            parsed = parse_container_name(name)
            if parsed is None:
                continue
            fd = files.open(os.fsencode(name), _FLAGS, dir_fd=folders.of(kind))
            try:
                header = parse_container_header(files.pread(fd, HEADER_SIZE, 0))
            except FormatError:
                continue
            finally:
                files.close(fd)
            if (header.kind, header.container, header.generation) == (kind, *parsed):
                yield header, name


def _configuration(files: Files, folders: Folders, root: Path) -> tuple[StoreConfiguration, bool]:
    headers = [header for header, _ in _headers(files, folders)]
    identities = {header.store for header in headers}
    if len(identities) > 1:
        named = ", ".join(sorted(map(str, identities)))
        raise StoreError(
            f"the containers in {root} belong to several stores ({named}): keep those of one",
            code="store.mixed",
        )
    try:
        found = read_configuration(root)
    except CorruptMetadataError:
        found = None
    except StoreError:
        found = None
    if found is not None and (not identities or found.store in identities):
        return found, False
    if not headers:
        raise StoreError(f"{root} has no container with a valid header", code="store.unknown")
    configuration = StoreConfiguration.from_mapping(headers[-1].configuration)
    put_file(files, folders.root, CONFIGURATION_NAME, configuration.as_json())
    return configuration, True


def _manifests(
    files: Files, folders: Folders, configuration: StoreConfiguration
) -> tuple[tuple[int, ...], tuple[int, ...], dict[int, str]]:
    found: dict[int, bytes] = {}
    for header, name in _headers(files, folders):
        if header.kind == STREAM and header.store == configuration.store:
            for manifest, payload in _manifest_records(files, folders, header, name):
                found[manifest.version] = payload  # a later record of a version replaces it
    versions = Versions(files, folders)
    kept = tuple(number for number in versions.numbers if versions.load(number) is not None)
    made = []
    for number, payload in sorted(found.items()):
        if number not in kept:
            put_file(files, folders.versions, manifest_name(number), seal_manifest(payload))
            made.append(number)
    unreadable = {number: why for number, why in versions.unreadable.items() if number not in found}
    return tuple(made), kept, unreadable


def _manifest_records(
    files: Files, folders: Folders, header: ContainerHeader, name: str
) -> Iterator[tuple[Manifest, bytes]]:
    """Iterate the manifest records that a commit follows, past any damage."""
    fd = files.open(os.fsencode(name), _FLAGS, dir_fd=folders.stream)
    try:
        read = reader_of(files, fd)
        waiting: list[tuple[Manifest, bytes]] = []
        for offset, record in every_record(read, header, files.fstat(fd).st_size):
            if record.kind == KIND_COMMIT:
                if _holds(record, read(offset + record.header_size, record.stored_size), offset):
                    yield from waiting
                    waiting.clear()
            elif record.kind == KIND_MANIFEST:
                payload = read(offset + record.header_size, record.stored_size)
                manifest = _parse(payload, record.digest)
                if manifest is not None:
                    waiting.append((manifest, payload))
    finally:
        files.close(fd)


def _holds(record: RecordHeader, payload: bytes, offset: int) -> bool:
    try:
        parse_commit(record, payload, offset)
    except CorruptMetadataError:
        return False
    return True


def _parse(payload: bytes, digest: bytes) -> Manifest | None:
    if blake3(payload).digest() != digest:
        return None
    try:
        return decode_manifest(payload)
    except RestoreError:
        return None


def _index(files: Files, folders: Folders, configuration: StoreConfiguration) -> tuple[str, ...]:
    for name in files.listdir(folders.index):
        files.unlink(os.fsencode(name), folders.index)
    newest = next(Versions(files, folders).newest_first(), None)
    known = () if newest is None else newest.containers
    found = survey(files, folders, configuration.store, known)
    trusted = usable(found.containers)
    covers = [
        Cover(number, container.generation, 0, container.state.end, container.header.salt)
        for number, container in trusted.items()
        if container.header is not None
    ]
    ChunkIndex(files, folders, configuration.store, trusted).save({}, covers)
    return found.damaged
