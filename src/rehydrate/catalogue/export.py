"""Writing the stubs of a version as files, for ``restore_in_place``."""

import os
from pathlib import Path
from typing import Final

import attrs

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.catalogue.selection import Selection
from rehydrate.errors import PublishError
from rehydrate.formats.native.catalogue import is_entry_path
from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.walk import DIRECTORY, FILE, Limits
from rehydrate.ports import Files, SystemFiles

__all__ = ["ExportReport", "export_stubs"]

_DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


@attrs.frozen
class ExportReport:
    """What was written.

    Attributes:
        files: Stub files written.
        directories: Directories made or found.
        left: Paths that are neither file nor directory; links have no stub file.
        unmatched: Patterns that match nothing.
    """

    files: int
    directories: int
    left: tuple[bytes, ...]
    unmatched: tuple[str, ...]


def export_stubs(
    catalogue: NativeCatalogue,
    version: int,
    target: str | os.PathLike[str],
    *,
    selection: Selection | None = None,
    files: Files | None = None,
) -> ExportReport:
    """Write the stubs of a version below a directory.

    Args:
        catalogue: The store.
        version: Number of the version.
        target: Directory; made if missing. Files that exist are not replaced.
        selection: Which entries; everything by default.
        files: File-system calls to make.

    Raises:
        RequestError: There is no such version.
        FormatError: The catalogue is damaged.
        PublishError: A call failed, or a file exists already.
    """
    selection = selection or Selection.of()
    paths, stubs = catalogue.stubs(version, selection.prefixes)
    chosen = selection.choose(paths)
    table = NATIVE.decode_stubs([stubs[index] for index in chosen.indexes], Limits())
    for error in table.errors.values():
        raise error
    writer = _TreeWriter(SystemFiles() if files is None else files, Path(target))
    left: list[bytes] = []
    counts = {FILE: 0, DIRECTORY: 0}
    try:
        for number, index in enumerate(chosen.indexes.tolist()):
            kind = int(table.kind[number])
            if not is_entry_path(paths[index]):
                raise PublishError("an entry has no safe path", file=os.fsdecode(paths[index]))
            if kind not in counts:
                left.append(paths[index])
                continue
            counts[kind] += 1
            if kind == DIRECTORY:
                writer.directory(paths[index])
            else:
                writer.file(paths[index], stubs[index])
    finally:
        writer.close()
    return ExportReport(counts[FILE], counts[DIRECTORY], tuple(left), chosen.unmatched)


class _TreeWriter:
    """Writes below one directory; links in the way are errors, not followed."""

    def __init__(self, files: Files, target: Path) -> None:
        self._files = files
        try:
            target.mkdir(parents=True, exist_ok=True)
            self._root = files.open(os.fsencode(target), _DIRECTORY)
        except OSError as error:
            raise PublishError.of(error, f"open {target}") from error
        self._made: set[bytes] = set()

    def close(self) -> None:
        self._files.close(self._root)

    def directory(self, path: bytes) -> None:
        parts = path.split(b"/")
        for depth in range(1, len(parts) + 1):
            part = b"/".join(parts[:depth])
            if part not in self._made:
                self._make(part)
                self._made.add(part)

    def _make(self, path: bytes) -> None:
        above, name = os.path.split(path)
        try:
            parent = self._files.open_beneath(above or b".", _DIRECTORY, self._root)
            try:
                self._files.mkdir(name, 0o700, parent)
            finally:
                self._files.close(parent)
        except FileExistsError:
            return  # if it is no directory, what is put below it fails
        except OSError as error:
            raise PublishError.of(error, "make a directory", file=os.fsdecode(path)) from error

    def file(self, path: bytes, stub: bytes) -> None:
        above, name = os.path.split(path)
        if above:
            self.directory(above)
        try:
            parent = self._files.open_beneath(above or b".", _DIRECTORY, self._root)
            try:
                fd = self._files.open(name, _NEW, 0o600, dir_fd=parent)
            finally:
                self._files.close(parent)
            try:
                self._files.pwrite(fd, stub, 0)
            finally:
                self._files.close(fd)
        except OSError as error:
            raise PublishError.of(error, "write a stub", file=os.fsdecode(path)) from error
