"""The parts of the containers of a store, kept between reads, and reading them by a drive."""

import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final

from rehydrate.errors import ContainerNotFoundError, RestoreError, StoreError, StoreReadError
from rehydrate.stores.ltfs.catalogue import ContainerCatalogue, Part, lay_out
from rehydrate.stores.ltfs.mounting import Drive
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.ltfs.working import Place
from rehydrate.values import StorePath

__all__ = ["Layouts"]

_MOST_LAID: Final = 1024  # containers whose parts are kept between reads


class Layouts:
    """Knows the parts of containers; may be used by several threads."""

    def __init__(self, catalogue: ContainerCatalogue, volumes: Mapping[str, LtfsVolume]) -> None:
        """Bind.

        Args:
            catalogue: Where containers are; only asked by one thread at a time.
            volumes: The volumes by name.
        """
        self._catalogue, self._volumes = catalogue, volumes
        self._lock = threading.Lock()
        self._laid: dict[StorePath, tuple[Part, ...] | StoreError] = {}

    def names(self, folder: StorePath) -> Sequence[str]:
        """Return the names of the containers in a folder.

        Args:
            folder: Store path of the folder.
        """
        with self._lock:
            return self._catalogue.names(folder)

    def parts(self, path: StorePath) -> tuple[Part, ...]:
        """Return the parts of a container, ascending.

        Args:
            path: The container.

        Raises:
            StoreError: It is not known, or its parts cannot be found.
        """
        with self._lock:
            found = self._laid.get(path)
            if found is None:
                if len(self._laid) >= _MOST_LAID:
                    self._laid.clear()
                found = self._laid[path] = self._lay(path)
        if isinstance(found, StoreError):
            raise found
        return found

    def placed(self, path: StorePath) -> tuple[Part, ...]:
        """Return the parts for an order, empty if they are not known; there may be millions.

        Args:
            path: The container; nothing is kept of it.
        """
        with self._lock:
            found = self._lay(path)
        return () if isinstance(found, StoreError) else found

    def between(self, place: Place) -> list[tuple[Part, int, int]]:
        """Return the parts that have bytes of a read, with the first byte of it and the end in each.

        Args:
            place: The read.

        Raises:
            StoreError: See :meth:`parts`.
        """
        path, offset, size = place
        parts, end = self.parts(path), offset + size
        at = max(bisect_right(parts, offset, key=attrgetter("start")) - 1, 0)
        found = []
        while at < len(parts) and parts[at].start < end:
            part = parts[at]
            if part.end > offset:
                found.append((part, max(part.start, offset), min(part.end, end)))
            at += 1
        return found

    def volumes(self, place: Place) -> set[LtfsVolume]:
        """Return the volumes that a read needs.

        Args:
            place: The read.

        Raises:
            StoreError: See :meth:`parts`.
        """
        return {part.volume for part, _, _ in self.between(place) if part.volume and part.extent}

    def read(self, drive: Drive, place: Place) -> bytes:
        """Read by a drive; bytes that lie on no tape need none.

        Args:
            drive: Has the volume, or gets it.
            place: The read.

        Raises:
            StoreError: It cannot be read.
        """
        pieces = []
        for part, first, end in self.between(place):
            if part.volume is None:
                raise StoreReadError(
                    "the catalogue has no piece with these bytes", code="tape.catalogue",
                    container=place[0], offset=first, length=end - first, retryable=False,
                )  # fmt: skip
            if part.extent is None:
                pieces.append(bytes(end - first))
            else:
                at = first + part.first - part.start
                pieces.append(drive.reader(part.volume).read(part.extent, at, end - first))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _lay(self, path: StorePath) -> tuple[Part, ...] | StoreError:
        try:
            pieces = self._catalogue.pieces(path)
        except StoreError as error:
            return error.at(container=path)
        if not pieces:
            return ContainerNotFoundError(f"no volume has {path!r}", container=path)
        try:
            return lay_out(pieces, self._volumes)
        except StoreError as error:
            return error.at(container=path)
        except RestoreError as error:
            problem = StoreReadError(
                error.message, code=error.code, container=path, retryable=False
            )
            problem.__cause__ = error
            return problem
