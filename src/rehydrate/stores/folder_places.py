"""What the names of a directory are: files, and sidecars with the reparse data of files."""

import os
import stat
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from rehydrate.errors import StoreReadError
from rehydrate.stores.host_tree import Folder, HostTree, Selection, inner_path, shown
from rehydrate.stores.ntfs_attributes import DriverAttributes
from rehydrate.stores.sidecars import (
    REPARSE_HEAD,
    SharedStubs,
    partner_of,
    sidecar_tag,
    sidecars_first,
)
from rehydrate.stores.volume import FILE_ATTRIBUTE_REPARSE_POINT

__all__ = [
    "ALONE",
    "BESIDE",
    "LINK",
    "PLAIN",
    "SHARED",
    "SHOWN",
    "FolderPlaces",
    "Place",
]

PLAIN: Final = 0
"""A file or directory without reparse data; these are VolumeEntry.number."""
BESIDE: Final = 1
"""It has a sidecar."""
ALONE: Final = 2
"""There is nothing but the sidecar."""
SHOWN: Final = 3
"""A driver shows a file with its reparse data."""
LINK: Final = 4
"""A driver shows the reparse data, and something else than a file."""
SHARED: Final = 5
"""Another name of the file has a sidecar."""


@attrs.frozen
class Place:
    """A name of a directory, before it is an entry.

    Attributes:
        name: The name; without suffix for a sidecar.
        kind: One of the numbers above.
        status: Status of the file; of the sidecar where that is all there is.
        reparse_tag: Tag of the reparse data; 0 = none.
        linked: Whether all names of the file are names of one and the same thing.
    """

    name: bytes
    kind: int
    status: os.stat_result
    reparse_tag: int = 0
    linked: bool = True


class FolderPlaces:
    """Looks at the directories of a folder copy."""

    def __init__(
        self,
        tree: HostTree,
        driver: DriverAttributes,
        tell: Callable[[str], None],
        remark: Callable[[str], None],
    ) -> None:
        """Look into ``tree``, as ``driver`` shows it.

        Args:
            tree: The folder.
            driver: What the driver of its file system shows.
            tell: Told what is left out of what Windows had.
            remark: Told what else is worth knowing.
        """
        self._tree = tree
        self._driver = driver
        self._tell, self._remark = tell, remark
        self.shared = SharedStubs(tree)

    def of(
        self, folder: Folder, path: bytes, names: Sequence[bytes], wanted: Selection
    ) -> list[Place]:
        """Return the places of a directory, sorted by name.

        Args:
            folder: The directory.
            path: Its path.
            names: Names in it.
            wanted: Which paths are asked for; what does not lead to them is not looked at.
        """
        places: dict[bytes, Place] = {}
        sidecars: dict[bytes, Place] = {}
        for name in sidecars_first(names):
            full, partner = inner_path(path, name), partner_of(name)
            if not wanted.leads(full) and not (partner and wanted.leads(inner_path(path, partner))):
                continue
            try:
                place = Place(name, PLAIN, folder.status(name))
                new = partner and partner not in sidecars
                tag = self._tag_in(full, place.status) if new else 0
            except (OSError, StoreReadError) as error:
                self._tell(f"{shown(full)}: {error}")
                continue
            if tag:
                sidecars[partner] = Place(partner, ALONE, place.status, tag)
            else:
                seen = self._seen(folder, full, place)
                places.update({} if seen is None else {name: seen})
        found: list[Place] = []
        for name in sorted({*places, *sidecars}):
            full = inner_path(path, name)
            if wanted.leads(full):
                found += self._joined(full, places.get(name), sidecars.get(name))
        return found

    def _tag_in(self, path: bytes, status: os.stat_result) -> int:
        """Return the tag of a sidecar; 0 = the file is none."""
        if not stat.S_ISREG(status.st_mode):
            return 0
        head = self._tree.read(path, 0, min(REPARSE_HEAD.size, status.st_size))
        tag = sidecar_tag(head, status.st_size)
        if not tag:
            self._remark(f"{shown(path)} holds no reparse data: taken as an ordinary file")
        return tag

    def _joined(self, path: bytes, place: Place | None, sidecar: Place | None) -> list[Place]:
        """Put a file and its stub together; nothing = left out, and told."""
        if place is None or place.kind != PLAIN:
            return [one for one in (place or sidecar,) if one is not None]
        status, tag = place.status, 0 if sidecar is None else sidecar.reparse_tag
        shared = None
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            shared = self.shared.find(status.st_dev, status.st_ino)
        clear = shared is None or shared.clear
        if tag:
            return [Place(place.name, BESIDE, status, tag, linked=clear)]
        if shared is None:
            return [place]
        if not shared.clear:
            self._tell(
                f"{shown(path)} is one file with other stubs, and which is not told: left out"
            )
            return []
        tag = sidecar_tag(shared.reparse_data, len(shared.reparse_data))
        return [Place(place.name, SHARED, status, tag)]

    def _seen(self, folder: Folder, path: bytes, place: Place) -> Place | None:
        """Add what the driver shows; ``None`` = left out, and told."""
        mode = place.status.st_mode
        reparse = self._driver.reparse_data(folder, place.name)
        if reparse is not None and len(reparse) >= REPARSE_HEAD.size:
            tag = REPARSE_HEAD.unpack_from(reparse)[0]
            kind = SHOWN if stat.S_ISREG(mode) else LINK
            return attrs.evolve(place, kind=kind, reparse_tag=tag)
        if self._driver.attributes(folder, place.name) & FILE_ATTRIBUTE_REPARSE_POINT:
            self._tell(
                f"{shown(path)} is a reparse point that the {self._driver.name} driver does not "
                "show: open the image of the volume, or mount it with ntfs-3g"
            )
            return None
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            return place
        # Not from Windows: no volume that was copied had it.
        what = "a link" if stat.S_ISLNK(mode) else "no file or directory"
        self._remark(f"{shown(path)} is {what}: left out")
        return None
