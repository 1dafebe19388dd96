"""A service that thaws by a clock of the test, and what tests ask a store over it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from rehydrate import (
    ContainerNotFoundError,
    FileExtent,
    NotReadyError,
    StoreError,
    StorePath,
    StoreReadError,
)
from rehydrate.media.tiers import DAY, ThawOptions
from rehydrate.stores.objects.archive import ObjectState, Stage
from rehydrate.stores.objects.asking import ThawChoice
from rehydrate.stores.objects.client import Fetched
from rehydrate.stores.objects.store import ObjectStore
from rehydrate.stores.objects.thawing import ThawingStore

NS = 1_000_000_000
HOUR = 3600
GB = 1_000_000_000
TIER = "s3-glacier-flexible"


class FakeClock:
    def __init__(self) -> None:
        self.now = 1_700_000_000

    def time_ns(self) -> int:
        return self.now * NS

    def monotonic(self) -> float:
        return float(self.now)

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds)


@attrs.define
class Frozen:
    """An object of the fake service."""

    size: int
    tier: str = TIER
    ready_at: int | None = None
    expires_at: int | None = None


class FakeService:
    """Objects, their thaws and every request; reads give the first letter of the name."""

    def __init__(self, clock: FakeClock, takes: int = 4 * HOUR) -> None:
        self.clock, self.takes = clock, takes
        self.objects: dict[str, Frozen] = {}
        self.asked: list[tuple[str, str, int]] = []
        self.looks: list[str] = []
        self.refuse: Callable[[str, str], Exception | None] = lambda _key, _speed: None
        self.silent = False
        self.vanished = False

    def state(self, key: str, version: str | None, /) -> ObjectState:
        self.looks.append(key)
        if self.silent:
            raise StoreReadError("throttled", code="object.throttled")
        if key not in self.objects:
            raise ContainerNotFoundError(key)
        found, now = self.objects[key], self.clock.now
        stage, expires = Stage.FROZEN if found.tier else Stage.READABLE, None
        if found.ready_at is not None and found.expires_at is not None:
            if now < found.ready_at:
                stage = Stage.THAWING
            elif now < found.expires_at:
                stage, expires = Stage.READABLE, found.expires_at * NS
        return ObjectState(stage=stage, tier=found.tier, size=found.size, expires_ns=expires)

    def thaw(
        self, key: str, version: str | None, state: ObjectState, /, *, speed: str, days: int
    ) -> None:
        refused = self.refuse(key, speed)
        if refused is not None:
            raise refused
        self.asked.append((key, speed, self.clock.now))
        found = self.objects[key]
        if found.expires_at is None or found.expires_at <= self.clock.now:
            found.ready_at = self.clock.now + self.takes
            found.expires_at = found.ready_at + days * DAY
        else:
            found.expires_at = self.clock.now + days * DAY

    def fetch(self, key: str, offset: int, size: int, *, version: str | None, tag: str) -> Fetched:
        state = self.state(key, version)
        if state.stage is not Stage.READABLE or self.vanished:
            raise StoreReadError("archived", code="object.archived", retryable=False)
        return Fetched(key[:1].encode() * size, "tag")

    def size(self, key: str, *, version: str | None) -> int:
        return self.objects[key].size

    def sizes(self, folder: str) -> dict[str, int]:
        return {name: found.size for name, found in sorted(self.objects.items())}

    @property
    def asked_for(self) -> str:
        return "".join(key for key, _, _ in self.asked)


def store_of(
    service: FakeService, job: Path | None, speed: str = "standard", **more: Any
) -> ThawingStore:
    choice = None if job is None else ThawChoice(speed=speed, job=job)
    if choice is not None:
        choice = attrs.evolve(choice, **{"options": ThawOptions(days=1), **more})
    return ThawingStore(ObjectStore(service), service, choice=choice, clock=service.clock)


def preview(store: ThawingStore, path: str) -> float | None:
    """Return after how many seconds to ask again, None if the object is ready."""
    try:
        store.preview_container_read(StorePath(path), [FileExtent(0, 100)])
    except NotReadyError as error:
        return error.retry_after
    return None


def ordered(store: ThawingStore, paths: str) -> str:
    """Return the order of containers named by one letter each."""
    answer = store.order_containers_restore([StorePath(path) for path in paths])
    return "".join(paths[extent.index] for extent in answer)


def refused(store: ThawingStore, path: str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        store.preview_container_read(StorePath(path), ())
    with pytest.raises(StoreError) as read:
        store.read_backup_file(StorePath(path), 0, 1)
    assert read.value.code == caught.value.code
    return caught.value
