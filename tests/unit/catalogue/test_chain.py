"""Commit chains: what follows, what does not, and what is found past damage."""

import uuid
from typing import Any

import attrs
import pytest
from blake3 import blake3

from rehydrate.errors import CorruptMetadataError
from rehydrate.formats.native.chain import (
    ChainState,
    ReadAt,
    commit_before,
    every_record,
    follow_chain,
    records_between,
)
from rehydrate.formats.native.container import Commit, ContainerHeader, encode_commit, encode_header
from rehydrate.formats.native.layout import HEADER_SIZE, KIND_CHUNK, KIND_COMMIT, align
from rehydrate.formats.native.record import encode_record

HEADER = ContainerHeader(
    kind="Data",
    store=uuid.UUID(int=1),
    container=3,
    generation=1,
    salt=bytes(range(16)),
    created_ns=5,
    capacity=1 << 20,
    configuration={},
)


class Bytes:
    """A container in memory, built record by record."""

    def __init__(self) -> None:
        self.data = bytearray(encode_header(HEADER))
        self.headers = blake3()
        self.records = 0
        self.last = ChainState()

    def add(self, payload: bytes) -> int:
        self.records += 1
        at = len(self.data)
        header = encode_record(
            HEADER.place(at),
            KIND_CHUNK,
            self.records,
            payload,
            logical_size=len(payload),
            digest=blake3(payload).digest(),
        )
        self.headers.update(header)
        self.data += header + payload
        self.data += bytes(align(len(self.data)) - len(self.data))
        return at

    def commit(self, **wrong: Any) -> int:
        at = len(self.data)
        commit = Commit(
            store=HEADER.store,
            container=3,
            generation=1,
            sequence=self.last.sequence + 1,
            valid_length=0,
            records=self.records,
            previous=self.last.previous,
            digest=self.headers.digest(),
        )
        changed = attrs.evolve(commit, **wrong)
        self.data += encode_commit(HEADER.place(at), changed)
        self.last = ChainState(
            len(self.data), commit.sequence, self.records, at, commit.digest, changed.sealed
        )
        self.headers = blake3()
        return at

    @property
    def read(self) -> ReadAt:
        return lambda offset, size: bytes(self.data[offset : offset + size])


@pytest.fixture
def container() -> Bytes:
    found = Bytes()
    found.add(b"one")
    found.add(b"two" * 1000)
    found.commit()
    found.add(b"three")
    found.commit(sealed=True)
    return found


def states(container: Bytes, *, payloads: bool = True) -> list[ChainState]:
    walk = follow_chain(container.read, HEADER, ChainState(), payloads=payloads)
    return [stretch.state for stretch in walk]


def test_a_chain_is_followed_to_its_end(container: Bytes) -> None:
    stretches = list(follow_chain(container.read, HEADER, ChainState(), payloads=True))
    assert [len(stretch.offsets) for stretch in stretches] == [2, 1]
    assert stretches[0].offsets[0] == HEADER_SIZE
    assert stretches[1].headers["local_id"].tolist() == [3]
    assert stretches[-1].state == container.last
    assert container.last.sealed


def test_a_chain_can_be_taken_up_behind_any_commit(container: Bytes) -> None:
    first = states(container)[0]
    walk = follow_chain(container.read, HEADER, first, payloads=True)
    assert [stretch.state for stretch in walk] == states(container)[1:]


def test_a_damaged_payload_ends_the_chain_only_if_payloads_count(container: Bytes) -> None:
    container.data[HEADER_SIZE + 73] ^= 1
    assert states(container) == []
    assert len(states(container, payloads=False)) == 2


def test_a_payload_cut_short_ends_the_chain(container: Bytes) -> None:
    del container.data[HEADER_SIZE + 100 :]
    assert states(container) == states(container, payloads=False) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"store": uuid.UUID(int=2)}, {"container": 4}, {"generation": 2}, {"sequence": 4},
        {"sequence": 2}, {"previous": 8}, {"records": 3}, {"records": 5}, {"digest": bytes(32)},
    ],
)  # fmt: skip
def test_a_commit_that_does_not_follow_ends_the_chain(
    container: Bytes, wrong: dict[str, object]
) -> None:
    container.add(b"four")
    container.commit(**wrong)
    assert len(states(container)) == 2


def test_every_byte_of_header_and_commit_counts(container: Bytes) -> None:
    whole = bytes(container.data)
    end = states(container)[0].end
    for position in [*range(HEADER_SIZE, HEADER_SIZE + 72), *range(end - 4096, end)]:
        container.data[:] = whole
        container.data[position] ^= 0x40
        assert len(states(container)) == 0 or (position >= end - 4096 and whole[position] == 0)


def test_the_commit_before_an_end_is_found_without_a_walk(container: Bytes) -> None:
    for state in states(container):
        assert commit_before(container.read, HEADER, state.end) == state
    assert commit_before(container.read, HEADER, HEADER_SIZE) == ChainState()


@pytest.mark.parametrize("end", [0, 8, 4097, 1 << 20, 1 << 62])
def test_where_no_commit_ends_there_is_none(container: Bytes, end: int) -> None:
    with pytest.raises(CorruptMetadataError, match="no commit ends here"):
        commit_before(container.read, HEADER, end)


def test_the_magic_of_a_record_in_a_payload_is_no_commit() -> None:
    container = Bytes()
    container.add(b"RHR1" * 1000)
    at = container.commit()
    assert commit_before(container.read, HEADER, container.last.end) == container.last
    container.data[at + 30] ^= 1
    with pytest.raises(CorruptMetadataError):
        commit_before(container.read, HEADER, container.last.end)


def test_records_between_commits(container: Bytes) -> None:
    first, last = states(container)
    offsets, headers = records_between(container.read, HEADER, HEADER_SIZE, last.end)
    assert headers["local_id"].tolist() == [1, 2, 3]
    assert (headers["kind"] == KIND_CHUNK).all()
    offsets, headers = records_between(container.read, HEADER, first.end, last.end)
    assert offsets.tolist() == [first.end]
    container.data[first.end] ^= 1
    with pytest.raises(CorruptMetadataError):
        records_between(container.read, HEADER, HEADER_SIZE, last.end)


def test_every_record_is_found_past_damage(container: Bytes) -> None:
    def found() -> list[int]:
        return [
            header.local_id
            for _, header in every_record(container.read, HEADER, len(container.data))
            if header.kind != KIND_COMMIT
        ]

    assert found() == [1, 2, 3]
    container.data[HEADER_SIZE] ^= 1
    assert found() == [2, 3]
    container.data[HEADER_SIZE + 80 : HEADER_SIZE + 80] = b""
    second = HEADER_SIZE + 80
    container.data[second + 40] ^= 1  # its magic stands, its check does not
    container.data[second + 101 : second + 105] = b"RHR1"  # and one that is not aligned
    assert found() == [3]
    del container.data[-3000:]
    assert found() == [3]


def test_a_search_ends_where_the_file_does(container: Bytes) -> None:
    """A file that is shorter than it says must not be searched for ever."""
    container.data[HEADER_SIZE:] = bytes(100)
    assert list(every_record(container.read, HEADER, 1 << 40)) == []
    assert list(every_record(container.read, HEADER, len(container.data))) == []


def test_a_header_with_an_extension_is_read_whole() -> None:
    """No release writes one yet; its length must not lead the walk astray."""
    container = Bytes()
    at = container.add(b"x")
    container.data[at + 4 : at + 6] = (80).to_bytes(2, "little")
    assert states(container) == []
    assert list(every_record(container.read, HEADER, len(container.data))) == []


def test_an_empty_search_block_ends_the_search() -> None:
    container = Bytes()
    container.data += bytes((1 << 20) + 64)
    at = container.add(b"behind a long gap")
    found = list(every_record(container.read, HEADER, len(container.data)))
    assert [offset for offset, _ in found] == [at]


def test_a_chunk_before_a_lost_commit_is_not_taken_for_it(container: Bytes) -> None:
    small = Bytes()
    small.add(b"small")
    at = small.commit()
    small.data[at + 30] ^= 1
    with pytest.raises(CorruptMetadataError):
        commit_before(small.read, HEADER, small.last.end)
    assert states(container)
