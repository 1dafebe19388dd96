"""What ``rehydrate info`` finds out about a Windows volume."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from rehydrate.catalogue.windows import EntryOnVolume
from rehydrate.cli.output import Json
from rehydrate.cli.records import version_record
from rehydrate.cli.volume_settings import policy_of
from rehydrate.cli.volume_source import VolumeSource
from rehydrate.errors import RestoreError
from rehydrate.formats.detect import owner_of
from rehydrate.formats.windows.layout import parse_container_name
from rehydrate.formats.windows.stub import parse_stub
from rehydrate.protocols import VersionInfo
from rehydrate.stores.images.partitions import Partition, partitions
from rehydrate.stores.images.source import open_image
from rehydrate.stores.volume import ChunkStore, Volume, VolumeFacts
from rehydrate.values import StoreId

__all__ = ["Container", "Report", "StoreReport", "report_on"]

_CONTAINER_FOLDERS: Final = ("Data", "Stream", "Hotspot")
_DAMAGED: Final = "damaged"


@attrs.frozen
class Container:
    """One container.

    Attributes:
        folder: ``Data``, ``Stream`` or ``Hotspot``.
        number: Its id.
        generation: Its generation; a number without a known structure, the larger the newer.
        size: Bytes.
    """

    folder: str
    number: int
    generation: int
    size: int

    def as_record(self) -> dict[str, Json]:
        """Return the same for JSON."""
        return {
            "folder": self.folder,
            "number": self.number,
            "generation": self.generation,
            "bytes": self.size,
        }


@attrs.frozen
class StoreReport:
    """One chunk store, and what refers to it.

    Attributes:
        store: Its identity.
        here: Whether it is there: on the volume, or given with ``--store``.
        containers: Its containers; none are known of a store from elsewhere.
        other_bytes: Bytes of its other files: stamps, logs, lists.
        stubs: Number of files on the volume that need it.
        logical_bytes: Bytes of those files.
    """

    store: StoreId
    here: bool
    containers: Sequence[Container] = ()
    other_bytes: int = 0
    stubs: int = 0
    logical_bytes: int = 0

    @property
    def container_bytes(self) -> int:
        """Bytes of all containers."""
        return sum(container.size for container in self.containers)

    @property
    def saved_bytes(self) -> int | None:
        """Bytes that the files would need more than the containers do; ``None`` = not known."""
        return self.logical_bytes - self.container_bytes if self.containers else None

    def folders(self) -> dict[str, tuple[int, dict[int, int]]]:
        """Return, for each folder, the bytes of its containers and their number by generation."""
        found: dict[str, tuple[int, dict[int, int]]] = {}
        for container in self.containers:
            size, counts = found.get(container.folder, (0, {}))
            counts[container.generation] = counts.get(container.generation, 0) + 1
            found[container.folder] = size + container.size, counts
        return found

    def as_record(self) -> dict[str, Json]:
        """Return the same for JSON."""
        return {
            "store": str(self.store),
            "here": self.here,
            "stubs": self.stubs,
            "logical_bytes": self.logical_bytes,
            "container_bytes": self.container_bytes,
            "other_bytes": self.other_bytes,
            "saved_bytes": self.saved_bytes,
            "containers": [container.as_record() for container in self.containers],
        }


@attrs.frozen(kw_only=True)
class Report:
    """What was found.

    Attributes:
        path: What was opened.
        layer: Kind of the image; empty where it is none.
        partitions: Partitions of the image.
        version: Number of the version that was looked at.
        versions: All versions.
        facts: What the volume says of itself.
        stores: Chunk stores, those that are missing last.
        formats: Number of stubs by format; ``damaged`` for those that cannot be decoded.
        files: Number and bytes of ordinary files.
        directories: Number of directories.
        others: Number of other reparse points by tag.
        policy: Values of the settings.
        problems: What could not be read, one line each.
    """

    path: Path
    layer: str
    partitions: Sequence[Partition]
    version: int
    versions: Sequence[VersionInfo]
    facts: VolumeFacts
    stores: Sequence[StoreReport]
    formats: Mapping[str, int]
    files: tuple[int, int]
    directories: int
    others: Mapping[int, int]
    policy: Mapping[str, str]
    problems: Sequence[str]

    def as_record(self) -> dict[str, Json]:
        """Return the same for JSON."""
        facts = self.facts
        return {
            "path": str(self.path),
            "layer": self.layer or None,
            "partitions": [
                {
                    "number": each.number,
                    "start": each.start,
                    "bytes": each.size,
                    "kind": each.kind,
                    "name": each.name,
                    "file_system": each.file_system,
                }
                for each in self.partitions
            ],
            "volume": {
                "source": facts.source,
                "label": facts.label,
                "file_system": facts.file_system or None,
                "serial": f"{facts.serial:016X}" if facts.serial else None,
                "bytes": facts.size or None,
                "snapshot": facts.snapshot,
            },
            "store_version": self.version,
            "versions": [version_record(info) for info in self.versions],
            "stores": [each.as_record() for each in self.stores],
            "stubs": sum(self.formats.values()),
            "stub_formats": dict(self.formats),
            "files": self.files[0],
            "file_bytes": self.files[1],
            "directories": self.directories,
            "reparse_points": {f"0x{tag:08X}": count for tag, count in self.others.items()},
            "policy": dict(self.policy),
            "problems": list(self.problems),
        }


def report_on(source: VolumeSource, version: int | str | None) -> Report:
    """Walk a volume and find out what is on it; no container is opened.

    Args:
        source: The volume.
        version: Number or name of the version; ``None`` = the newest.

    Raises:
        RequestError: There is no such version.
        StoreError: The volume cannot be read.
    """
    number = source.pick_version(version)
    volume = source.catalogue.volume(number)
    tally = _Tally()
    for entry in source.walk(number):
        tally.add(entry)
    policy, problems = _policy(volume)
    layer, found = _image(source.path)
    return Report(
        path=source.path,
        layer=layer,
        partitions=found,
        version=number,
        versions=source.versions(),
        facts=volume.facts,
        stores=tally.stores(volume.chunk_stores(), set(source.stores(number))),
        formats=dict(sorted(tally.formats.items())),
        files=(tally.files, tally.file_bytes),
        directories=tally.directories,
        others=dict(sorted(tally.others.items())),
        policy=policy,
        problems=[*source.problems, *problems],
    )


def _policy(volume: Volume) -> tuple[dict[str, str], list[str]]:
    try:
        return policy_of(volume.settings())
    except RestoreError as error:  # they are not needed for anything else
        return {}, [f"the settings cannot be read: {error}"]


def _image(path: Path) -> tuple[str, Sequence[Partition]]:
    if path.is_dir():
        return "", ()
    with open_image(path) as image:
        return image.layer, partitions(image.source)


class _Tally:
    """Counts the entries of a volume."""

    def __init__(self) -> None:
        self.formats: Counter[str] = Counter()
        self.others: Counter[int] = Counter()
        self.files = self.file_bytes = self.directories = 0
        self._stubs: Counter[StoreId] = Counter()
        self._bytes: Counter[StoreId] = Counter()

    def add(self, entry: EntryOnVolume) -> None:
        found = entry.found
        if entry.deduplicated:
            self._stub(entry)
        elif found.reparse_tag:
            self.others[found.reparse_tag] += 1
        elif found.directory:
            self.directories += 1
        else:
            self.files += 1
            self.file_bytes += found.size

    def _stub(self, entry: EntryOnVolume) -> None:
        try:
            stub = parse_stub(entry.stub)
        except RestoreError:
            self.formats[_DAMAGED] += 1
            owner = owner_of(entry.stub)
            if owner is None or not owner.store_id.int:
                return
            store, size = owner.store_id, entry.found.size
        else:
            self.formats[f"{stub.version[0]}.{stub.version[1]}"] += 1
            # A sidecar without its data file has no size of its own.
            store, size = stub.store, max(stub.size, entry.found.size)
        self._stubs[store] += 1
        self._bytes[store] += size

    def stores(self, on_volume: Sequence[ChunkStore], known: set[StoreId]) -> list[StoreReport]:
        """Return the stores of the volume, and those that its stubs name besides."""
        found = [self._store(store) for store in on_volume]
        there = {store.store for store in on_volume}
        missing = sorted(set(self._stubs) - there, key=lambda store: (store not in known, store))
        return found + [
            StoreReport(
                store,
                store in known,
                stubs=self._stubs[store],
                logical_bytes=self._bytes[store],
            )
            for store in missing
        ]

    def _store(self, store: ChunkStore) -> StoreReport:
        containers: list[Container] = []
        other = 0
        for file in store.files:
            *_, folder, name = ("", *file.path.split("/"))
            parsed = parse_container_name(name)
            if parsed is None or folder not in _CONTAINER_FOLDERS:
                other += file.size
            else:
                containers.append(Container(folder, *parsed, file.size))
        return StoreReport(
            store.store,
            here=True,
            containers=containers,
            other_bytes=other,
            stubs=self._stubs[store.store],
            logical_bytes=self._bytes[store.store],
        )
