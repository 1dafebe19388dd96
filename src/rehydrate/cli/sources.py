"""Where files come from: a native store, or whatever holds a Windows volume; told by looking."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol, Self

import attrs

from rehydrate.catalogue.selection import Selection
from rehydrate.cli.chosen import Wanted
from rehydrate.cli.output import Json, shown, tell
from rehydrate.errors import RequestError
from rehydrate.protocols import BackupStore, VersionInfo
from rehydrate.requests import CancelToken, Recall, RestoreRequest
from rehydrate.stores.layout import CONFIGURATION_NAME, DATA_FOLDER, STREAM_FOLDER
from rehydrate.values import StoreId

__all__ = [
    "Batch",
    "Listed",
    "RemoteOptions",
    "Selected",
    "Source",
    "TapeOptions",
    "is_native",
    "is_url",
    "local",
    "may_be_native",
    "only_for_windows",
    "only_native",
    "opened",
    "tell_problems",
]

_SYSTEM: Final = "system volume information"
_BACKUP: Final = "windowsimagebackup"


@attrs.frozen(kw_only=True)
class RemoteOptions:
    """How a store of objects is read.

    Attributes:
        endpoint: Address of the service; its own, or that of the environment, by default.
        thaw: How archived objects are thawed; ``None`` = not at all.
        max_cost: Most millionths of the currency of the price table.
        days: Days for which thawed copies are kept.
        prices: File with a price table; ``None`` = the built-in one.
        job: File of the thaw job.
        pricing: Nothing is read but what a plan needs, and nothing is thawed.
    """

    endpoint: str | None = None
    thaw: str | None = None
    max_cost: int | None = None
    days: int | None = None
    prices: Path | None = None
    job: Path | None = None
    pricing: bool = False

    def only_for_objects(self) -> None:
        """Refuse what was given, as the source is no store of objects."""
        options = {
            "--endpoint": self.endpoint,
            "--thaw": self.thaw,
            "--max-cost": self.max_cost,
            "--thaw-days": self.days,
            "--price-table": self.prices,
        }
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise RequestError(
                f"{' and '.join(given)}: only for stores of objects, such as s3://bucket/prefix"
            )


@attrs.frozen(kw_only=True)
class TapeOptions:
    """Tapes for containers that are not in the source.

    Attributes:
        inventories: Directory with the inventories of the volumes; ``None`` = there are no tapes.
        folder: Folder on the volumes that store paths are relative to; ``None`` = the only one.
        drives: Where volumes come up.
        load: Command that loads a volume.
        restores: Volumes are mounted; without it nothing of them is touched.
    """

    inventories: Path | None = None
    folder: str | None = None
    drives: tuple[str, ...] = ()
    load: str | None = None
    restores: bool = False

    @classmethod
    def of(
        cls,
        inventories: Path | None,
        folder: str | None,
        drives: Sequence[str] | None = None,
        load: str | None = None,
        *,
        restores: bool = False,
    ) -> Self:
        """Take what was given.

        Args:
            inventories: Directory with the inventories.
            folder: Folder on the volumes.
            drives: Where volumes come up.
            load: Command that loads a volume.
            restores: Volumes will be mounted.

        Raises:
            RequestError: An option needs another one.
        """
        options = {"--tape-folder": folder, "--drive": drives, "--load": load}
        given = [name for name, value in options.items() if value]
        if inventories is None and given:
            raise RequestError(
                f"{' and '.join(given)}: say with --tapes DIR what lies on which volume"
            )
        if load is not None and not drives:
            raise RequestError("--load: say with --drive where the volume comes up then")
        if restores and inventories is not None and not drives:
            raise RequestError("--tapes: say with --drive where volumes come up")
        return cls(
            inventories=inventories,
            folder=folder,
            drives=tuple(drives or ()),
            load=load,
            restores=restores,
        )

    def of_source(self, source: "Source") -> "Source | None":
        """Return a source that was opened with these if there are tapes, else None."""
        return None if self.inventories is None else source


class Selected(Protocol):
    """Chosen entries of one version."""

    @property
    def version(self) -> int:
        """Its number."""
        ...

    @property
    def paths(self) -> Sequence[bytes]:
        """Their paths in tree order."""
        ...

    @property
    def unmatched(self) -> tuple[str, ...]:
        """Patterns and paths that match nothing."""
        ...

    def requests(self, metadata: str | None = None, /) -> Iterable[RestoreRequest]:
        """Return what to restore.

        Args:
            metadata: Where Windows metadata goes; ``None`` = nowhere.
        """
        ...


class Listed(Protocol):
    """One entry as ``ls`` shows it."""

    @property
    def path(self) -> bytes:
        """Path in the version."""
        ...

    @property
    def note(self) -> str:
        """What stands behind its name in a tree."""
        ...

    def as_record(self) -> dict[str, Json]:
        """Return it for JSON."""
        ...

    def long_line(self) -> str:
        """Return one line with everything that ``ls -l`` shows."""
        ...


class Batch(Protocol):
    """Entries that follow each other."""

    @property
    def paths(self) -> Sequence[bytes]:
        """Their paths."""
        ...

    def listed(self, indexes: Sequence[int], /) -> Iterator[Listed]:
        """Describe some of them."""
        ...


class Source(Protocol):
    """What a command reads from."""

    @property
    def windows(self) -> bool:
        """Whether it is a Windows volume."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read so far, one line each."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What else is worth knowing, one line each."""
        ...

    def versions(self) -> list[VersionInfo]:
        """Return all versions, oldest first."""
        ...

    def pick_version(self, version: int | str | None) -> int:
        """Return the number of the version that is meant.

        Raises:
            RequestError: There is no such version.
        """
        ...

    def stores(self, version: int) -> Mapping[StoreId, BackupStore]:
        """Return the stores that stubs of a version can need."""
        ...

    def selection(self, version: int, wanted: Wanted) -> Selection:
        """Compile what is wanted by the rules for names of a version."""
        ...

    def unmatched(self, wanted: Wanted, missed: tuple[str, ...]) -> tuple[str, ...]:
        """Return what was given of what a selection missed."""
        ...

    def batches(self, version: int, prefixes: Sequence[bytes]) -> Iterator[Batch]:
        """Iterate the entries of a version in tree order.

        Args:
            version: Its number.
            prefixes: Only these paths and what is below them; empty = everything.
        """
        ...

    def choose(
        self, wanted: Wanted, *, out: Path | None = None, cancel: CancelToken | None = None
    ) -> Selected:
        """Find the entries that are wanted.

        Args:
            wanted: What was asked for.
            out: Where they go: directories on the way that are not there come along.
            cancel: Stops a long search.

        Raises:
            RequestError: There is no such version, or nothing matches.
            Cancelled: It was stopped.
        """
        ...

    def read(
        self, version: int, path: bytes, offset: int, length: int, recall: Recall
    ) -> Iterator[bytes]:
        """Read a range of a file.

        Args:
            version: Number of the version.
            path: Path in it.
            offset: First byte.
            length: Number of bytes; cut at the end of the file.
            recall: What to do where newer data may lie elsewhere.

        Raises:
            RequestError: There is no such file.
        """
        ...


def opened(
    place: Path | str,
    partition: str | None = None,
    stores: Sequence[Path] | None = None,
    *,
    remote: RemoteOptions | None = None,
    tapes: TapeOptions | None = None,
) -> AbstractContextManager[Source]:
    """Open a source.

    Args:
        place: A store, its URL, or what holds a Windows volume.
        partition: Which partition or volume of it.
        stores: Where else chunk stores are.
        remote: How a store of objects is read.
        tapes: Where containers are that are not in it.

    Raises:
        StoreError: There is nothing that can be read.
        FormatError: It is damaged, or of a kind that is not supported.
        RequestError: It is not clear which partition is meant, or options are for others.
    """
    if may_be_native(place):
        only_for_windows({"--partition": partition, "--store": stores})
    if tapes is not None and tapes.inventories is not None:
        if is_url(place):
            raise RequestError(f"--tapes: {place} is a URL: name a directory", code="request.url")
        if remote is not None:
            remote.only_for_objects()
        from rehydrate.cli.tapes import opened_taped

        return opened_taped(Path(place), partition, stores or (), tapes)
    if is_url(place):
        from rehydrate.cli.remote import opened_objects

        return opened_objects(str(place), remote or RemoteOptions())
    if remote is not None:
        remote.only_for_objects()
    path = Path(place)
    if may_be_native(path):
        from rehydrate.cli.native_source import opened_store

        return opened_store(path)
    from rehydrate.cli.volume_source import opened_volume

    return opened_volume(path, partition, stores or ())


def tell_problems(source: Source) -> bool:
    """Name what could not be read; return whether there is anything."""
    for line in (*source.remarks, *source.problems):
        tell(f"rehydrate: {shown(line)}")
    return bool(source.problems)


def only_for_windows(options: Mapping[str, object]) -> None:
    """Refuse options that mean nothing for a native store.

    Args:
        options: Names and what was given.
    """
    given = [name for name, value in options.items() if value]
    if given:
        raise RequestError(
            f"{' and '.join(given)}: only for Windows volumes, and this is a native store"
        )


def is_url(place: Path | str) -> bool:
    """Tell whether a store is named by a URL."""
    return isinstance(place, str) and "://" in place


def may_be_native(place: Path | str) -> bool:
    """Tell whether a native store is meant: by a URL, by what is there, or because nothing is."""
    return is_url(place) or is_native(Path(place)) or not Path(place).exists()


def local(place: str, command: str) -> Path:
    """Return the directory that is meant.

    Args:
        place: What was given.
        command: What would be done with it, as in ``"optimize"``.

    Raises:
        RequestError: It is a URL.
    """
    if is_url(place):
        raise RequestError(
            f"`rehydrate {command}` takes directories only: copy {place} into one",
            code="request.url",
        )
    return Path(place)


def is_native(path: Path) -> bool:
    """Tell whether a directory is a native store, or what is left of one."""
    if os.path.lexists(path / CONFIGURATION_NAME):
        return True
    if looks_like_volume(path):
        return False
    from rehydrate.formats.native.container import EXTENSION

    return any(
        name.endswith(EXTENSION)
        for folder in (DATA_FOLDER, STREAM_FOLDER)
        for name in _names(path / folder)
    )


def looks_like_volume(path: Path) -> bool:
    """Tell, by names alone, whether something holds a Windows volume: false is no proof."""
    if path.exists() and not path.is_dir():
        return True
    if path.name.lower() == _BACKUP:
        return path.is_dir()
    return not {_SYSTEM, _BACKUP}.isdisjoint(name.lower() for name in _names(path))


def only_native(path: Path, why: str) -> None:
    """Refuse a Windows volume.

    Args:
        path: Where the store is, or will be.
        why: Why it cannot be done with one; ends the sentence "... is a Windows volume: ".

    Raises:
        RequestError: It is a Windows volume.
    """
    if not os.path.lexists(path / CONFIGURATION_NAME) and looks_like_volume(path):
        raise RequestError(f"{path} is a Windows volume: {why}", code="request.windows")


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []
