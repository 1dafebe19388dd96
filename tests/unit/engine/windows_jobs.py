"""Restores from generated Windows stores in memory, and what they left behind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import attrs

from rehydrate.engine.restore import Stores, restore_files
from rehydrate.errors import RestoreError
from rehydrate.protocols import RestoreObserver
from rehydrate.requests import Durability, OwnExtent, RestoreOptions, RestoreRequest
from rehydrate.results import AtTarget, FileStatus, RestoreReport
from rehydrate.staging.root import TargetRoot
from rehydrate.values import ContainerExtent, FileExtent, StorePath
from tests.windows_store.containers import Container
from tests.windows_store.shelf import Shelf
from tests.windows_store.store import File

OLD = b"what stood here before"


@attrs.define(eq=False)
class Silent:
    """A store that can do nothing but read; short at the end of a container.

    Attributes:
        containers: The containers by path.
        reads: Path, offset and size of all reads.
    """

    containers: dict[str, Container]
    reads: list[tuple[str, int, int]] = attrs.field(factory=list)

    @classmethod
    def of(cls, *shelves: Shelf) -> Self:
        """Bind to generated stores, sealed as they are now."""
        found: dict[str, Container] = {}
        for shelf in shelves:
            found |= shelf.by_path()
        return cls(found)

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        self.reads.append((path, offset, size))
        if path not in self.containers:
            raise FileNotFoundError(path)
        return self.containers[path].image.read(offset, size)

    def reads_of(self, folder: str) -> list[tuple[str, int, int]]:
        return [read for read in self.reads if f"/{folder}/" in read[0]]


@attrs.define(eq=False)
class Lists(Silent):
    """A store that can list folders, and counts order calls.

    Attributes:
        more: Names in folders that are no containers of ours.
        orders: The containers of each order call.
    """

    more: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    orders: list[tuple[StorePath, ...]] = attrs.field(factory=list)

    def list_containers(self, folder: StorePath, /) -> list[str]:
        found = [path.rpartition("/") for path in self.containers]
        names = [name for parent, _, name in found if parent == folder]
        return [*names, *self.more.get(folder.rpartition("/")[2], ())]

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent] | None:
        self.orders.append(tuple(containers))
        return None


class Strict(Lists):
    """A store that refuses reads beyond the end of a container."""

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        data = super().read_backup_file(path, offset, size)
        if len(data) != size:
            raise OSError(f"{size} bytes at {offset} reach beyond the end")
        return data


class Concurrent(Lists):
    """A store that may be asked for several reads at once."""

    concurrent_reads = 4


class Backwards(Lists):
    """A store with an order of its own, in two passes as the sample of the COM API has them."""

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        super().order_containers_restore(containers)
        numbers = range(len(containers) - 1, -1, -1)
        borders = [self._tenth(containers[number]) for number in numbers]
        passes = zip(numbers, borders, strict=True)
        first = [ContainerExtent(index=n, offset=0, length=border) for n, border in passes]
        rest = [ContainerExtent(index=e.index, offset=e.length) for e in first]
        return [*first, *rest]

    def _tenth(self, path: StorePath) -> int:
        container = self.containers.get(path)
        return 1 if container is None else container.image.size // 10


@attrs.frozen(eq=False)
class Done:
    """One restore and what it left behind."""

    report: RestoreReport
    files: Mapping[str, File]
    out: Path

    def error(self, name: str) -> RestoreError:
        (error,) = (one.error for one in self.report.failures if one.target == name)
        assert error is not None
        return error

    def failed(self) -> dict[str, str]:
        """Return the codes of files that failed, after a look at all targets and all errors."""
        found = {}
        for result in self.report.results:
            name = result.target
            data = (self.out / name).read_bytes()
            if result.status is FileStatus.FAILED:
                error = result.error
                assert error is not None
                assert error.message
                assert error.file == name
                assert error.code not in ("internal", "error"), error
                assert data == OLD, "the old file is intact"
                assert result.at_target is AtTarget.OLD
                found[name] = error.code
            else:
                assert result.status in (FileStatus.RESTORED, FileStatus.STORE_VERSION), result
                assert data == self.files[name].data, name
                assert result.at_target is AtTarget.NEW
        return found


def own_extents(file: File) -> tuple[OwnExtent, ...]:
    """Return what the stub of a recalled file holds itself."""

    def read(offset: int, size: int) -> bytes:
        return file.data[offset : offset + size]

    return tuple(OwnExtent(FileExtent(offset, len(data)), read) for offset, data in file.own)


def named(files: Sequence[File]) -> dict[str, File]:
    return {f"f{number:05}": file for number, file in enumerate(files)}


def restore(
    files: Sequence[File] | Mapping[str, File],
    store: Stores,
    out: Path,
    *,
    requests: Sequence[RestoreRequest] | None = None,
    observer: RestoreObserver | None = None,
    **options: object,
) -> Done:
    """Restore over old files: one worker, no syncs, own data of stubs known."""
    out.mkdir(exist_ok=True)
    wanted = files if isinstance(files, Mapping) else named(files)
    for name in wanted:
        (out / name).write_bytes(OLD)
    asked = requests or [
        RestoreRequest(file.stub, name, size=file.size, own_data=own_extents(file))
        for name, file in wanted.items()
    ]
    chosen = RestoreOptions(**{"jobs": 1, "durability": Durability.NONE, **options})  # type: ignore[arg-type] # options by name
    with TargetRoot(out) as root:
        report = restore_files(asked, store, root, options=chosen, observer=observer)
    return Done(report, wanted, out)
