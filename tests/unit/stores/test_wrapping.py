"""A wrapper that changes nothing hands on what the store has, and promises nothing else."""

from pathlib import Path

import pytest

from rehydrate import ContainerExtent, FileExtent, StorePath
from rehydrate.conformance import MemoryStore
from rehydrate.engine.calls import StoreCalls, store_for_plans
from rehydrate.stores.readahead import ReadAhead
from rehydrate.stores.recording import Recording
from rehydrate.stores.wrapping import Wrapper
from samples.counting_store import CountingStore

PATH = StorePath("Data/one")


class Bare:
    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        if path != PATH:
            raise FileNotFoundError(path)
        return bytes(size)


class Ordering(MemoryStore):
    def order_containers_restore(self, containers: list[StorePath], /) -> list[ContainerExtent]:
        return [ContainerExtent(index=index) for index in reversed(range(len(containers)))]


def test_bare_store_stays_bare() -> None:
    wrapper = Wrapper(Bare())
    assert wrapper.read_backup_file(PATH, 3, 4) == bytes(4)
    assert wrapper.order_containers_restore([PATH]) is None
    assert wrapper.list_containers(StorePath("Data")) == ()
    assert wrapper.store_id is None
    wrapper.preview_container_read(PATH, [FileExtent(0, 1)])
    with pytest.raises(FileNotFoundError):
        wrapper.read_backup_file(StorePath("none"), 0, 1)


def test_engine_assumes_the_same_of_a_bare_store_and_of_its_wrapper() -> None:
    bare, wrapped = StoreCalls(Bare()), StoreCalls(Wrapper(Wrapper(Bare())))
    assert (bare.max_gap, bare.max_read, bare.read_timeout, bare.concurrent_reads) == (
        wrapped.max_gap,
        wrapped.max_read,
        wrapped.read_timeout,
        wrapped.concurrent_reads,
    )
    assert not wrapped.reads_into


def test_what_the_store_has_is_handed_on() -> None:
    counting = CountingStore({PATH: bytes(9)})
    with Wrapper(counting) as wrapper:
        wrapper.preview_container_read(PATH, [FileExtent(0, 9)])
        assert bytes(wrapper.read_backup_file(PATH, 2, 3)) == bytes(3)
    assert [call.split()[0] for call in counting.calls] == ["preview", "read"]
    store = Wrapper(Ordering({PATH: bytes(9)}))
    assert store.order_containers_restore([PATH, PATH]) == [
        ContainerExtent(index=1),
        ContainerExtent(index=0),
    ]
    assert list(store.list_containers(StorePath("Data"))) == ["one"]


def test_plans_call_what_the_store_wants_them_to_call(tmp_path: Path) -> None:
    class Dear(MemoryStore):
        for_plans = MemoryStore({})

    dear, cheap = Wrapper(Wrapper(Dear({}))), Wrapper(MemoryStore({}))
    assert store_for_plans(dear) is Dear.for_plans
    assert store_for_plans(cheap) is cheap
    with ReadAhead(Dear({})) as ahead, Recording(Dear({}), tmp_path / "trace") as recording:
        assert store_for_plans(ahead) is store_for_plans(recording) is Dear.for_plans
