"""Vendor classes that must not match.

A line that ends with ``# E: CODE`` must be reported by mypy with that code, and no other line must
be. This file is checked by ``tests/typing/test_protocols.py`` and is never imported.
"""

from collections.abc import Sequence

from rehydrate import (
    BackupStore,
    ContainerExtent,
    DeclaresConcurrency,
    DeclaresReadHints,
    FileExtent,
    ListsContainers,
    OrdersContainers,
    PreviewsReads,
    ReadsInto,
    RestoreObserver,
    StorePath,
)


class NoMethod:
    """Nothing there."""


class OtherName:
    def read(self, path: str, offset: int, size: int) -> bytes:
        return bytes(size)


class GivesText:
    def read_backup_file(self, path: str, offset: int, size: int) -> str:
        return " " * size


class MayGiveNothing:
    def read_backup_file(self, path: str, offset: int, size: int) -> bytes | None:
        return None


class NoSize:
    def read_backup_file(self, path: str, offset: int) -> bytes:
        return b""


class KeywordsOnly:
    def read_backup_file(self, *, path: str, offset: int, size: int) -> bytes:
        return bytes(size)


class BytesPath:
    def read_backup_file(self, path: bytes, offset: int, size: int) -> bytes:
        return bytes(size)


class IsAsync:
    async def read_backup_file(self, path: str, offset: int, size: int) -> bytes:
        return bytes(size)


class OrdersPaths:
    def order_containers_restore(self, containers: Sequence[StorePath]) -> Sequence[StorePath]:
        return sorted(containers)


class OrdersLists:
    def order_containers_restore(self, containers: list[StorePath]) -> list[ContainerExtent]:
        return []


class PreviewsOneRead:
    def preview_container_read(self, path: StorePath, read: FileExtent) -> None:
        return None


class FillsNothing:
    def read_backup_file_into(self, path: str, offset: int, buffer: memoryview) -> None:
        return None


class ListsBytes:
    def list_containers(self, folder: str) -> list[bytes]:
        return []


class DeclaresText:
    concurrent_reads: str = "4"


class DeclaresHalf:
    max_gap: int = 4096


class ObservesText:
    def on_event(self, event: str) -> None:
        return None


no_method: BackupStore = NoMethod()  # E: assignment
other_name: BackupStore = OtherName()  # E: assignment
gives_text: BackupStore = GivesText()  # E: assignment
may_give_nothing: BackupStore = MayGiveNothing()  # E: assignment
no_size: BackupStore = NoSize()  # E: assignment
keywords_only: BackupStore = KeywordsOnly()  # E: assignment
bytes_path: BackupStore = BytesPath()  # E: assignment
is_async: BackupStore = IsAsync()  # E: assignment
orders_paths: OrdersContainers = OrdersPaths()  # E: assignment
orders_lists: OrdersContainers = OrdersLists()  # E: assignment
previews_one: PreviewsReads = PreviewsOneRead()  # E: assignment
fills_nothing: ReadsInto = FillsNothing()  # E: assignment
lists_bytes: ListsContainers = ListsBytes()  # E: assignment
declares_text: DeclaresConcurrency = DeclaresText()  # E: assignment
declares_half: DeclaresReadHints = DeclaresHalf()  # E: assignment
observes_text: RestoreObserver = ObservesText()  # E: assignment

# A plain string is no store path, and ranges are values that do not change.
path: StorePath = "Data/00000001.ccc"  # E: assignment
extent = FileExtent(0, 1)
extent.offset = 1  # E: misc
ContainerExtent(0, 0, 1)  # E: call-arg
