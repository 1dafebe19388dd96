"""Which workspace a target's file is staged in: one for each file system below the target root.

A rename cannot cross file systems, and copying would not be atomic. Where a directory below the
root is a mount point, a second workspace is made in it.
"""

from contextlib import suppress
from typing import NamedTuple

from rehydrate.errors import StagingError
from rehydrate.ports import Files
from rehydrate.staging.descriptors import close_quietly
from rehydrate.staging.root import DIRECTORY, Parents, TargetRoot, blocked
from rehydrate.staging.workspace import Workspace

__all__ = ["Homes", "Place"]


class Place(NamedTuple):
    """What is known of a directory.

    Attributes:
        exists: Whether it was there before this job.
        device: Number of the file system that it is (or will be) on.
        nearest: Itself, or the nearest directory above it that exists.
        cause: Why it cannot be used.
    """

    exists: bool
    device: int
    nearest: bytes
    cause: OSError | None = None


class Homes:
    """The workspaces of a job, and what was found out about directories.

    Attributes:
        main: The workspace at the target root.
    """

    def __init__(self, root: TargetRoot, job: str, main: Workspace, files: Files) -> None:
        """Start with the workspace at the root.

        Args:
            root: The target root.
            job: Name of the job.
            main: Its workspace.
            files: The file-system calls.
        """
        self.main = main
        self._root = root
        self._job = job
        self._files = files
        self._others: dict[int, Workspace] = {}
        self._parents: list[int] = []
        self._places: dict[bytes, Place] = {
            b"": Place(exists=True, device=main.device, nearest=b"")
        }

    def look(self, path: bytes, parents: Parents) -> Place:
        """Find out about a directory; each is looked at once in a job.

        Nothing is asked about a directory below one that is missing, nor about one that this job
        made: nothing can be in the way there.

        Args:
            path: Relative path of the directory.
            parents: Opens it.
        """
        place = self._places.get(path)
        if place is None:
            place = self._look(path, parents)
            self._places[path] = place
        return place

    def _look(self, path: bytes, parents: Parents) -> Place:
        above = self.look(path.rpartition(b"/")[0], parents)
        if above.cause is not None or not above.exists or path in parents.made:
            return above._replace(exists=False)
        try:
            device = self._files.fstat(parents.find(path)).st_dev
        except FileNotFoundError:
            return above._replace(exists=False)
        except OSError as cause:
            return Place(exists=False, device=above.device, nearest=path, cause=cause)
        return Place(exists=True, device=device, nearest=path)

    def workspace(self, place: Place) -> Workspace:
        """Return the workspace for files of a directory, made if it is the first of its device.

        Args:
            place: What :meth:`look` returned.

        Raises:
            StagingError: The workspace cannot be made.
        """
        if place.device == self.main.device:
            return self.main
        found = self._others.get(place.device)
        if found is not None:
            return found
        try:
            fd = self._files.open_beneath(place.nearest, DIRECTORY, self._root.fd)
        except OSError as cause:
            raise blocked(cause, place.nearest, file=place.nearest) from cause
        self._parents.append(fd)
        workspace = Workspace(fd, self._job, self._files)
        self._others[place.device] = workspace
        self.main.note(b"E", place.nearest)
        return workspace

    def reopen(self, parents: Parents) -> None:
        """Open the further workspaces that an earlier run of the job left, where that works."""
        for path in self.main.places(b"E"):
            with suppress(StagingError):
                self.workspace(self.look(path, parents))

    def all(self) -> list[Workspace]:
        """Return the workspaces, the one at the root last."""
        return [*self._others.values(), self.main]

    def close(self) -> bool:
        """Close all workspaces; those in which nothing is staged are removed.

        Returns:
            Whether all are gone.
        """
        gone = [workspace.close() for workspace in self._others.values()]
        gone.append(self.main.close() if all(gone) else self.main.close(keep=True))
        close_quietly(self._files, *self._parents)
        self._parents.clear()
        return all(gone)
