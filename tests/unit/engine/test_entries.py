"""What the requests of a job are: files, names of one inode, metadata, recalled data."""

import attrs
import numpy as np
import pytest

from rehydrate.conformance import World
from rehydrate.engine.calls import ObserverCalls
from rehydrate.engine.entries import Entries, sort_entries
from rehydrate.engine.outcome import Outcome
from rehydrate.engine.selection import take_requests
from rehydrate.errors import RequestError
from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.walk import Limits
from rehydrate.requests import FileMetadata, OwnExtent, Recall, RestoreOptions, RestoreRequest
from rehydrate.results import FileStatus
from rehydrate.values import FileExtent

OWN = (OwnExtent(FileExtent(0, 5), lambda offset, size: bytes(size)),)


def sort(
    requests: list[RestoreRequest],
    *,
    signs: tuple[int, ...] = (),
    has_recall: bool = False,
    recall: Recall = Recall.REFUSE,
) -> tuple[Entries, Outcome]:
    taken = take_requests(requests, portable_names=False)
    stubs = NATIVE.decode_stubs(taken.stubs, Limits())
    sign = np.zeros(len(requests), np.bool_)
    sign[list(signs)] = True
    outcome = Outcome(taken.targets, ObserverCalls(None))
    entries = sort_entries(
        attrs.evolve(stubs, recall_sign=sign),
        range(len(requests)),
        taken,
        RestoreOptions(recall=recall),
        outcome=outcome,
        has_recall=has_recall,
    )
    return entries, outcome


@pytest.fixture
def world() -> World:
    world = World()
    chunk = world.chunk(b"x" * 100)
    for name in ("a", "b", "c"):
        world.file(name, [chunk])
    return world


def test_kinds_are_told_apart_and_directories_come_parents_first() -> None:
    world = World()
    world.directory("z/y")
    world.file("f", [])
    world.symlink("l", b"f")
    world.directory("z")
    world.directory("z-")
    entries, _ = sort(world.requests)
    assert entries.files.tolist() == [1]
    assert entries.symlinks == [2]
    assert [world.requests[n].target for n in entries.directories] == ["z", "z/y", "z-"]


def test_further_names_of_an_inode_hang_on_the_first() -> None:
    world = World()
    chunk = world.chunk(b"data")
    world.file("other", [chunk])
    world.file("first", [chunk], link_group=7)
    world.file("second", [chunk], link_group=7)
    world.file("else", [chunk], link_group=8)
    world.file("third", [chunk], link_group=7)
    entries, _ = sort(world.requests)
    assert entries.files.tolist() == [0, 1, 3]
    assert entries.further == {2: 1, 4: 1}
    assert entries.table.linked == {1}


def test_first_name_that_failed_leaves_its_place_to_the_next() -> None:
    world = World()
    chunk = world.chunk(b"data")
    for name in ("first", "second", "third"):
        world.file(name, [chunk], link_group=7)
    entries, _ = sort(world.requests, signs=(0,), has_recall=True)
    assert entries.files.tolist() == [1]
    assert entries.further == {2: 0}


def test_metadata_of_the_request_wins_field_by_field(world: World) -> None:
    given = FileMetadata(mode=0o600, mtime_ns=5, uid=1, gid=2, xattrs=((b"user.a", b"1"),))
    world.file("x", [], xattrs=((b"user.stub", b"s"),))
    requests = [
        attrs.evolve(world.requests[0], metadata=given),
        attrs.evolve(world.requests[1], metadata=FileMetadata(mode=0o640)),
        world.requests[2],
        attrs.evolve(world.requests[3], metadata=FileMetadata()),
    ]
    table = sort(requests)[0].table
    assert table.mode.tolist() == [0o600, 0o640, 0o644, 0o644]
    assert table.mtime_ns[0] == 5
    assert table.mtime_ns[1] == table.mtime_ns[2] != 5
    assert (table.uid.tolist(), table.gid.tolist()) == ([1, 0, 0, 0], [2, 0, 0, 0])
    assert table.xattrs == {0: ((b"user.a", b"1"),), 3: ((b"user.stub", b"s"),)}


def test_keys_differ_by_target_and_stub(world: World) -> None:
    requests = [*world.requests, RestoreRequest(world.stub_of([]), "a2")]
    keys = sort(requests)[0].table.keys
    assert len(set(keys)) == 4
    assert all(len(key) == 16 for key in keys)


def test_bad_stub_fails_its_request_only(world: World) -> None:
    stub = bytearray(world.requests[1].stub)
    stub[20] ^= 1
    requests = [world.requests[0], RestoreRequest(bytes(stub), "bad"), world.requests[2]]
    entries, outcome = sort(requests)
    assert entries.files.tolist() == [0, 2]
    assert outcome.status(1) == FileStatus.FAILED


def test_sign_of_recall_is_refused_unless_the_own_data_are_known(world: World) -> None:
    first, second, third = world.requests
    requests = [first, attrs.evolve(second, own_data=()), attrs.evolve(third, own_data=OWN)]
    entries, outcome = sort(requests, signs=(0, 1, 2), has_recall=True)
    assert entries.files.tolist() == [1, 2]
    assert outcome.status(0) == FileStatus.FAILED
    assert isinstance(outcome.first_error, RequestError)
    assert outcome.first_error.code == "recall.unknown"
    assert outcome.unchecked == set()


def test_unknown_without_a_sign_is_unchecked_where_stubs_can_hold_data(world: World) -> None:
    requests = [world.requests[0], attrs.evolve(world.requests[1], own_data=())]
    assert sort(requests, has_recall=True)[1].unchecked == {0}
    assert sort(requests, has_recall=False)[1].unchecked == set()


def test_size_that_is_not_that_of_the_map_is_a_sign(world: World) -> None:
    first, second, third = world.requests
    requests = [attrs.evolve(first, size=101), attrs.evolve(second, size=99), third]
    entries, outcome = sort(requests)
    assert entries.files.tolist() == [2]
    assert outcome.status(0) == outcome.status(1) == FileStatus.FAILED
    assert entries.table.size.tolist() == [100]


def test_file_that_was_cut_is_refused_although_its_own_data_are_known(world: World) -> None:
    requests = [attrs.evolve(world.requests[0], size=99, own_data=())]
    _, outcome = sort(requests)
    assert outcome.first_error is not None
    assert outcome.first_error.code == "recall.truncated"
    entries, _ = sort(requests, recall=Recall.IGNORE)
    assert entries.files.tolist() == [0]


def test_asked_to_ignore_it_takes_the_version_of_the_store(world: World) -> None:
    entries, outcome = sort(world.requests, signs=(1,), has_recall=False, recall=Recall.IGNORE)
    assert entries.files.tolist() == [0, 1, 2]
    assert outcome.unchecked == set(), "nothing is looked at where stubs hold no data"
    entries, outcome = sort(world.requests, signs=(1,), has_recall=True, recall=Recall.IGNORE)
    assert outcome.unchecked == {0, 2}
    assert outcome.store_version == {1}
