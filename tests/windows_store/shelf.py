"""All containers of a generated store: which are there, in which generations, and as what files."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from tests.windows_store.containers import MAX_OFFSET, Container
from tests.windows_store.neighbours import dedup_neighbours, store_neighbours
from tests.windows_store.structures import Reference

__all__ = ["CHUNK_STORE", "DEDUP", "Shelf"]

DEDUP: Final = "System Volume Information/Dedup"
CHUNK_STORE: Final = f"{DEDUP}/ChunkStore"
FIRST_ID: Final = {"Data": 1, "Stream": 0x10000, "Hotspot": 1}
"""Ids of the first containers, and the steps between ids."""
MAX_HOLES: Final = 1 << 28
"""How many bytes of holes `Shelf.as_mapping` fills with zeros."""


class Shelf:
    """The containers of one store.

    Attributes:
        guid: Name of the store.
        path: Its folder, relative to the volume, with forward slashes.
        extra: More files by path relative to that folder; tests may add some.
        generation: Generation of containers that are begun.
    """

    def __init__(
        self,
        guid: UUID,
        *,
        generation: int = 1,
        data_limit: int = 1 << 30,
        stream_limit: int = 1 << 30,
    ) -> None:
        """Begin without containers; arguments as in `WindowsStore`."""
        self.guid = guid
        self.path = f"{CHUNK_STORE}/{{{str(guid).upper()}}}.ddp"
        self.extra: dict[str, bytes] = {}
        self.generation = generation
        self._limits = {"Data": data_limit, "Stream": stream_limit, "Hotspot": data_limit}
        self._containers: dict[tuple[str, int], dict[int, Container]] = {}
        self._names: dict[str, Container] = {}
        self._open: dict[str, Container] = {}

    def containers(self) -> list[Container]:
        """Return all containers of all generations, sealed."""
        found = [one for those in self._containers.values() for one in those.values()]
        for container in found:
            container.seal()
        return found

    def container(self, folder: str, container_id: int, generation: int | None = None) -> Container:
        """Return a container, sealed.

        Args:
            folder: ``Data``, ``Stream`` or ``Hotspot``.
            container_id: Its number.
            generation: Its generation; None is the highest.
        """
        those = self._containers[folder, container_id]
        found = those[max(those) if generation is None else generation]
        found.seal()
        return found

    def path_of(self, container: Container) -> str:
        """Return the store path of a container."""
        return f"{self.path}/{container.folder}/{container.name}"

    def container_for(self, folder: str, size: int) -> Container:
        """Return the container that takes a record of ``size`` bytes, if need be a new one."""
        found = self._open.get(folder)
        if found is None or (found.spots and found.room(size) > self._limits[folder]):
            found = self.new_container(folder)
        return found

    def new_container(self, folder: str, *, generation: int | None = None) -> Container:
        """Begin a container; what is stored from now on goes there.

        Args:
            folder: Its folder.
            generation: Its generation; None is that of the store.
        """
        ids = [number for place, number in self._containers if place == folder]
        container_id = max(ids, default=0) + FIRST_ID[folder]
        generation = self.generation if generation is None else generation
        container = Container(folder, container_id, generation)
        self._containers[folder, container_id] = {generation: container}
        self._open[folder] = container
        return container

    def end_run(self) -> None:
        """End the append run in each open container: paddings come to be in mid-container."""
        self.containers()

    def skip_to(self, folder: str, offset: int) -> None:
        """Let the next record of a folder begin at ``offset``, behind one huge padding.

        The padding is a hole; files are written sparse.
        """
        self._limits[folder] = MAX_OFFSET
        self.container_for(folder, 0).end_run(offset)

    def compact(
        self,
        folder: str,
        container_id: int,
        generation: int,
        *,
        drop: Collection[int] = (),
        order: Sequence[int] | None = None,
        keep_old: bool = False,
    ) -> Container:
        """Rewrite a container as another generation: records move, references to them go stale.

        Args:
            folder: Its folder.
            container_id: Its number; its highest generation is rewritten.
            generation: The new generation.
            drop: LocalIds that nobody needs.
            order: LocalIds in the order of their new places; None is such that each moves.
            keep_old: Leave the old generation there, too.
        """
        old = self.container(folder, container_id)
        kept = [number for number in old.spots if number not in drop]
        moved = old.compacted(generation, kept[1:] + kept[:1] if order is None else order)
        if order is None and any(moved.spots[number] == old.spots[number] for number in kept):
            moved = old.compacted(generation, kept[1:] + kept[:1], lead=1)
        those = self._containers[folder, container_id]
        if not keep_old:
            del those[old.generation]
        those[generation] = moved
        if self._open.get(folder) is old:
            self._open[folder] = moved
        return moved

    def now(self, folder: str, reference: Reference) -> Reference:
        """Return where a record is in the highest generation of its container."""
        container = self.container(folder, reference.container)
        offset = container.spots[reference.local_id].offset
        return reference._replace(offset=offset, generation=container.generation)

    def misname(self, container: Container, container_id: int, generation: int) -> None:
        """Put a container under the name of another, whose file it takes the place of."""
        name = f"{container_id:08x}.{generation:08x}.ccc"
        self._names[f"{self.path}/{container.folder}/{name}"] = container

    def suffixed(self, container: Container, suffix: str) -> str:
        """Add a copy of a container with more behind its name; return its store path."""
        container.seal()
        name = f"{container.folder}/{container.name}{suffix}"
        self.extra[name] = container.image.read(0, container.image.size)
        return f"{self.path}/{name}"

    def by_path(self) -> dict[str, Container]:
        """Return the containers by store path, sealed."""
        found = {self.path_of(container): container for container in self.containers()}
        return found | self._names

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Return bytes of a container, fewer at its end.

        Raises:
            KeyError: No such container.
        """
        return self.by_path()[path].image.read(offset, size)

    def as_mapping(self) -> dict[str, bytes]:
        """Return the bytes of the containers, and of ``extra``, by store path.

        Raises:
            ValueError: There are large holes; write files, or use `read`.
        """
        found = {}
        for path, container in self.by_path().items():
            if container.image.holes > MAX_HOLES:
                raise ValueError(f"{path} has holes of {container.image.holes} bytes")
            found[path] = container.image.read(0, container.image.size)
        return found | {f"{self.path}/{name}": data for name, data in self.extra.items()}

    def write(self, volume: Path, *, with_neighbours: bool = True) -> Path:
        """Write the store into the folder of a volume and return its own folder.

        Args:
            volume: Root of the volume.
            with_neighbours: Write also the other files that a real store has.
        """
        folder = volume / self.path
        for name in ("Data", "Stream", "Hotspot"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for path, container in self.by_path().items():
            container.image.write(volume / path)
        files = {f"{self.path}/{name}": data for name, data in self.extra.items()}
        if with_neighbours:
            files |= {f"{self.path}/{name}": data for name, data in store_neighbours().items()}
            files |= {f"{DEDUP}/{name}": data for name, data in dedup_neighbours().items()}
        for path, data in files.items():
            (volume / path).parent.mkdir(parents=True, exist_ok=True)
            (volume / path).write_bytes(data)
        return folder
