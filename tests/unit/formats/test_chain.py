"""Chains of commits: what a cut, changed or re-sealed container still proves."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from blake3 import blake3

from rehydrate.errors import CorruptMetadataError, UnsupportedFormatError
from rehydrate.formats.native import layout
from rehydrate.formats.native.chain import (
    RECORD_DTYPE,
    ChainState,
    Stretch,
    commit_before,
    every_record,
    follow_chain,
    records_between,
)
from rehydrate.formats.native.container import Commit, encode_commit
from rehydrate.formats.native.record import place_check
from rehydrate.formats.walk import DATA
from tests.spec.small_store import STORE, ContainerWriter
from tests.unit.formats.hostile import extremes, fields_of

WRITER = ContainerWriter(DATA, 1)
FIRST = [WRITER.add_chunk(b"one"), WRITER.add_chunk(b"two" * 50)]
WRITER.commit()
FIRST_END = len(WRITER.data)
SECOND = [WRITER.add_chunk(b"three")]
WRITER.commit()
SECOND_END = len(WRITER.data)
WRITER.commit()
THIRD_END = len(WRITER.data)
CONTAINER = bytes(WRITER.data)
HEADER = WRITER.header
ENDS = [FIRST_END, SECOND_END, THIRD_END]
SECOND_COMMIT = SECOND[0].offset + layout.align(SECOND[0].length)


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, size: data[offset : offset + size]


def chain(data: bytes, start: ChainState | None = None, *, payloads: bool = True) -> list[Stretch]:
    return list(follow_chain(reader(data), HEADER, start or ChainState(), payloads=payloads))


def ends(stretches: Sequence[Stretch]) -> list[int]:
    return [stretch.state.end for stretch in stretches]


def test_chain_of_a_whole_container() -> None:
    stretches = chain(CONTAINER)
    assert ends(stretches) == ENDS
    assert [stretch.offsets.tolist() for stretch in stretches] == [
        [ref.offset for ref in FIRST],
        [ref.offset for ref in SECOND],
        [],
    ]
    assert stretches[0].headers["local_id"].tolist() == [1, 2]
    assert stretches[0].headers["digest"][1].tobytes() == FIRST[1].digest
    last = stretches[-1].state
    assert (last.sequence, last.records, last.previous) == (3, 3, SECOND_END)
    assert not last.sealed


def test_chain_goes_on_from_a_state() -> None:
    first = chain(CONTAINER)[0].state
    assert ends(chain(CONTAINER, first)) == ENDS[1:]
    assert chain(CONTAINER, chain(CONTAINER)[-1].state) == []


def test_chain_may_start_at_a_state_with_another_history_only_if_it_follows() -> None:
    first = chain(CONTAINER)[0].state
    for wrong in (
        attrs.evolve(first, sequence=2),
        attrs.evolve(first, previous=4096),
        attrs.evolve(first, records=1),
    ):
        assert chain(CONTAINER, wrong) == []


def test_seal_is_told() -> None:
    writer = ContainerWriter(DATA, 1)
    writer.commit(sealed=True)
    (stretch,) = chain(bytes(writer.data))
    assert stretch.state.sealed


def test_cut_container_proves_the_commits_that_are_whole() -> None:
    for length in range(layout.HEADER_SIZE, len(CONTAINER), 13):
        assert ends(chain(CONTAINER[:length])) == [end for end in ENDS if end <= length]


def is_padding(at: int) -> bool:
    """Tell whether a byte stands behind a record that is no multiple of 8."""
    return any(
        ref.offset + ref.length <= at < ref.offset + layout.align(ref.length)
        for ref in (*FIRST, *SECOND)
    )


def test_changed_byte_ends_the_chain_before_its_commit() -> None:
    places = [*range(layout.HEADER_SIZE, FIRST_END, 7), *range(FIRST_END, SECOND_END, 11)]
    for at in places:
        data = bytearray(CONTAINER)
        data[at] ^= 0x80
        proved = ENDS if is_padding(at) else [end for end in ENDS if end <= at]
        assert ends(chain(bytes(data))) == proved, at


def test_payload_is_looked_at_only_if_asked() -> None:
    data = bytearray(CONTAINER)
    data[FIRST[0].offset + layout.RECORD_SIZE] ^= 1
    assert ends(chain(bytes(data))) == []
    assert ends(chain(bytes(data), payloads=False)) == ENDS


def commit(**changes: Any) -> bytes:
    """Return the container with another second commit, sealed as the good one is."""
    good = Commit(
        store=STORE,
        container=1,
        generation=1,
        sequence=2,
        valid_length=SECOND_END,
        records=3,
        previous=chain(CONTAINER)[0].state.previous,
        digest=chain(CONTAINER)[1].state.digest,
    )
    record = encode_commit(HEADER.place(SECOND_COMMIT), attrs.evolve(good, **changes))
    return CONTAINER[:SECOND_COMMIT] + record + CONTAINER[SECOND_END:]


def test_good_commit_is_the_one_that_stands_there() -> None:
    assert commit() == CONTAINER


@pytest.mark.parametrize(
    "changes",
    [
        {"container": 2},
        {"generation": 2},
        {"sequence": 3},
        {"records": 2},
        {"previous": 4096},
        {"digest": bytes(32)},
    ],
    ids=lambda changes: str(*changes),
)
def test_commit_that_does_not_follow_ends_the_chain(changes: dict[str, int | bytes]) -> None:
    assert ends(chain(commit(**changes))) == [FIRST_END]


def test_commit_of_another_store_ends_the_chain() -> None:
    header = attrs.evolve(HEADER, store=type(STORE)(int=0))
    assert list(follow_chain(reader(CONTAINER), header, ChainState(), payloads=False)) == []


def resealed_commit(at: int, width: int, number: int) -> bytes:
    record = bytearray(CONTAINER[SECOND_COMMIT:SECOND_END])
    record[at : at + width] = number.to_bytes(width, "little")
    payload = bytes(record[layout.RECORD_SIZE :])
    record[56:64] = layout.crc64(payload).to_bytes(8, "little")
    check = place_check(HEADER.place(SECOND_COMMIT), bytes(record[: layout.CHECKED_SIZE]))
    record[64:72] = check.to_bytes(8, "little")
    return CONTAINER[:SECOND_COMMIT] + bytes(record) + CONTAINER[SECOND_END:]


def test_resealed_commit_with_extreme_numbers_ends_the_chain() -> None:
    for at, width in fields_of(layout.COMMIT, layout.RECORD_SIZE):
        for number in extremes(width, SECOND_END):
            data = resealed_commit(at, width, number)
            assert ends(chain(data)) == (ENDS if data == CONTAINER else [FIRST_END])


def test_resealed_header_with_extreme_numbers_is_refused_or_ends_the_chain() -> None:
    for at, width in fields_of(layout.RECORD)[:-2]:
        for number in extremes(width, SECOND_END):
            data = resealed_commit(at, width, number)
            try:
                found = ends(chain(data))
            except UnsupportedFormatError:
                continue
            assert found in ([FIRST_END], ENDS)
            assert found == [FIRST_END] or data == CONTAINER or at == 7


def test_commit_before_an_end() -> None:
    states = [stretch.state for stretch in chain(CONTAINER)]
    assert [commit_before(reader(CONTAINER), HEADER, end) for end in ENDS] == states
    assert commit_before(reader(CONTAINER), HEADER, layout.HEADER_SIZE) == ChainState()


@pytest.mark.parametrize(
    "end",
    [0, 8, 4095, FIRST_END - 8, FIRST_END + 8, THIRD_END + 4096, 2**63 - 4096, 2**63 - 1],
)
def test_no_commit_before_another_end(end: int) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        commit_before(reader(CONTAINER), HEADER, end)
    assert caught.value.code == "commit.missing"


def test_commit_is_found_among_things_that_look_like_records() -> None:
    writer = ContainerWriter(DATA, 1)
    writer.add_chunk(layout.RECORD_MAGIC * 900)
    writer.commit()
    end = len(writer.data)
    state = commit_before(reader(bytes(writer.data)), HEADER, end)
    assert (state.end, state.sequence) == (end, 1)
    damaged = bytearray(writer.data)
    damaged[writer.last_commit_at + 9] ^= 1
    with pytest.raises(CorruptMetadataError):
        commit_before(reader(bytes(damaged)), HEADER, end)


def test_record_that_ends_on_a_page_is_no_commit() -> None:
    writer = ContainerWriter(DATA, 1)
    writer.add_chunk(bytes(4096 - layout.RECORD_SIZE))
    with pytest.raises(CorruptMetadataError):
        commit_before(reader(bytes(writer.data)), HEADER, 8192)


def test_chunk_that_holds_a_commit_is_no_commit() -> None:
    writer = ContainerWriter(DATA, 1)
    payload = encode_commit(
        HEADER.place(4096),
        Commit(
            store=STORE,
            container=1,
            generation=1,
            sequence=1,
            valid_length=0,
            records=0,
            previous=0,
            digest=blake3(b"").digest(),
        ),
    )[layout.RECORD_SIZE :]
    writer.add_chunk(payload)
    assert len(writer.data) == 8192
    with pytest.raises(CorruptMetadataError):
        commit_before(reader(bytes(writer.data)), HEADER, 8192)
    assert chain(bytes(writer.data)) == []


def test_records_between_two_places() -> None:
    offsets, headers = records_between(reader(CONTAINER), HEADER, 4096, THIRD_END)
    assert offsets.tolist() == [ref.offset for ref in (*FIRST, *SECOND)]
    assert headers["local_id"].tolist() == [1, 2, 3]
    offsets, _ = records_between(reader(CONTAINER), HEADER, FIRST_END, SECOND_END)
    assert offsets.tolist() == [SECOND[0].offset]
    offsets, headers = records_between(reader(CONTAINER), HEADER, FIRST_END, FIRST_END)
    assert len(offsets) == len(headers) == 0


def test_records_between_do_not_step_over_damage() -> None:
    for data in (CONTAINER[: SECOND[0].offset + 20], CONTAINER.replace(b"RHR1", b"RHR2")):
        with pytest.raises(CorruptMetadataError):
            records_between(reader(data), HEADER, 4096, THIRD_END)


def test_headers_are_read_as_columns() -> None:
    assert RECORD_DTYPE.itemsize == layout.RECORD_SIZE
    places = {field[1] for field in (RECORD_DTYPE.fields or {}).values()}
    assert {at for at, _ in fields_of(layout.RECORD)} <= places
    _, headers = records_between(reader(CONTAINER), HEADER, 4096, FIRST_END)
    row = headers[0]
    assert (row["magic"].tobytes(), int(row["stored_size"])) == (b"RHR1", 3)
    assert int(row["payload_crc"]) == layout.crc64(b"one")


def with_extension(extension: bytes) -> bytes:
    """Return a container whose only record has an extension, and a commit over it."""
    record = bytearray(CONTAINER[FIRST[0].offset :][: layout.RECORD_SIZE])
    record[4:6] = (layout.RECORD_SIZE + len(extension)).to_bytes(2, "little")
    checked = bytes(record[: layout.CHECKED_SIZE]) + extension
    record[64:72] = place_check(HEADER.place(4096), checked).to_bytes(8, "little")
    header = bytes(record) + extension
    data = CONTAINER[:4096] + header + b"one".ljust(8, b"\0")
    end = encode_commit(
        HEADER.place(len(data)),
        Commit(
            store=STORE,
            container=1,
            generation=1,
            sequence=1,
            valid_length=0,
            records=1,
            previous=0,
            digest=blake3(header).digest(),
        ),
    )
    return data + end


def test_extension_belongs_to_what_a_commit_covers() -> None:
    data = with_extension(b"extended")
    (stretch,) = chain(data)
    assert stretch.headers["header_size"].tolist() == [80]
    changed = data.replace(b"extended", b"EXTENDED")
    assert chain(changed) == []
    assert np.array_equal(records_between(reader(data), HEADER, 4096, 8192)[0], [4096])


def test_every_record_is_found_past_damage() -> None:
    whole = [offset for offset, _ in every_record(reader(CONTAINER), HEADER, len(CONTAINER))]
    assert len(whole) == 6
    for lost in whole:
        data = bytearray(CONTAINER)
        data[lost + 10] ^= 1
        found = [offset for offset, _ in every_record(reader(bytes(data)), HEADER, len(data))]
        assert found == [offset for offset in whole if offset != lost]


def test_every_record_of_a_file_without_one() -> None:
    for data in (CONTAINER[:4096], CONTAINER[:4096] + bytes(3 << 20), CONTAINER[:4100]):
        assert list(every_record(reader(data), HEADER, len(data))) == []
    assert list(every_record(reader(CONTAINER[:4096]), HEADER, 1 << 40)) == []


def test_magic_that_is_not_aligned_is_no_record() -> None:
    noise = b"xRHR1xxx" * 10
    data = CONTAINER[:4096] + noise + CONTAINER[4096:FIRST_END]
    assert list(every_record(reader(data), HEADER, len(data))) == []
