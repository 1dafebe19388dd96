"""The adapters pass the kit: an object store on loopback, and the wrappers around a plain one."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from rehydrate.conformance.kit import StoreConformance
from rehydrate.protocols import BackupStore
from rehydrate.stores.directory import DirectoryStore
from rehydrate.stores.objects.store import ObjectStore
from rehydrate.stores.readahead import ReadAhead
from rehydrate.stores.recording import Recording
from rehydrate.values import StorePath
from tests.unit.stores.objects.service import Bucket

Containers = Mapping[StorePath, bytes]


class OnDisk(StoreConformance):
    @pytest.fixture(autouse=True)
    def closing(self) -> Iterator[None]:
        with ExitStack() as self.opened_here:
            yield

    def directory(self, folder: Path) -> DirectoryStore:
        return self.opened_here.enter_context(DirectoryStore(folder))

    def make_store(self, containers: Containers, folder: Path) -> BackupStore:
        self.folder = folder
        for path, data in containers.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return self.opened(folder)

    def opened(self, folder: Path) -> BackupStore:
        raise NotImplementedError

    def raw_get(self, store: BackupStore, path: StorePath) -> bytes:
        return (self.folder / path).read_bytes()

    def raw_remove(self, store: BackupStore, path: StorePath) -> None:
        (self.folder / path).unlink()


class TestLocalObjects(OnDisk):
    def opened(self, folder: Path) -> BackupStore:
        pytest.importorskip("obstore")
        return ObjectStore(folder.as_uri())


class TestReadAhead(OnDisk):
    def opened(self, folder: Path) -> BackupStore:
        ahead = ReadAhead(self.directory(folder), budget=1 << 20)
        return self.opened_here.enter_context(ahead)


class TestRecording(OnDisk):
    def opened(self, folder: Path) -> BackupStore:
        recording = Recording(self.directory(folder), folder / "trace")
        return self.opened_here.enter_context(recording)


class TestObjectsOnLoopback(StoreConformance):
    @pytest.fixture(autouse=True)
    def given(self, bucket: Bucket) -> None:
        self.bucket = bucket

    def make_store(self, containers: Containers, folder: Path) -> BackupStore:
        self.bucket.fill(containers)
        return ObjectStore(self.bucket.url, access=self.bucket.access())

    def raw_get(self, store: BackupStore, path: StorePath) -> bytes:
        answer = self.bucket.client.get_object(Bucket=self.bucket.name, Key=f"backup/{path}")
        body: bytes = answer["Body"].read()
        return body

    def raw_remove(self, store: BackupStore, path: StorePath) -> None:
        self.bucket.delete(path)
