"""Drives a repair walk by hand: answers it from containers, and remembers what each round asked."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from rehydrate.errors import ContainerNotFoundError, StoreReadError
from rehydrate.formats.walk import (
    Answer,
    ListFolder,
    Read,
    RecordRef,
    Request,
    Scan,
    StoreFormat,
)

C = TypeVar("C")


class RepairDriver(Generic[C]):
    """Asks a format; how its containers are held is overridden."""

    scanned_at_once: int

    def __init__(
        self, store_format: StoreFormat, containers: dict[str, C], *, lists: bool = True
    ) -> None:
        self.format = store_format
        self.containers = containers
        self.lists = lists
        self.rounds: list[Sequence[Request]] = []

    def size(self, container: C) -> int:
        raise NotImplementedError

    def bytes_at(self, container: C, offset: int, size: int) -> bytes:
        raise NotImplementedError

    def run(self, ref: RecordRef) -> bytes:
        walk = self.format.repair(ref)
        requests = next(walk)
        while True:
            self.rounds.append(requests)
            try:
                requests = walk.send([self.answer(request) for request in requests])
            except StopIteration as end:
                data: bytes = end.value
                return data

    def answer(self, request: Request) -> Answer:
        if isinstance(request, ListFolder):
            names = [path.rpartition("/") for path in self.containers]
            found = tuple(name for folder, _, name in names if folder == request.folder)
            return found if self.lists else ()
        container = self.containers.get(request.path)
        if container is None:
            return ContainerNotFoundError("not there")
        if isinstance(request, Read):
            piece = self.bytes_at(container, request.offset, request.size)
            return piece if len(piece) == request.size else StoreReadError("too short")
        return self.scanned(container, request)

    def scanned(self, container: C, request: Scan) -> bytes | None:
        step = self.scanned_at_once
        scanner = self.format.scanner(request.path, [request.ref])
        for at in range(request.start, min(request.end, self.size(container)), step):
            for _, record in scanner.feed(memoryview(self.bytes_at(container, at, step))):
                return record
        return None
