"""Lists of drives: what is encoded comes back, and no bytes make anything but a typed error."""

import random
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from rehydrate.errors import CorruptMetadataError
from rehydrate.media import rao

NUMBERS = st.integers(0, 2**64 - 1)


@st.composite
def lists(draw: st.DrawFn) -> list[rao.DataSegment]:
    ends = draw(st.lists(st.tuples(NUMBERS, NUMBERS).map(sorted), max_size=8))
    return [
        rao.DataSegment(rao.name_of(number), draw(st.integers(0, 255)), first, last)
        for number, (first, last) in enumerate(ends)
    ]


@given(lists(), st.randoms(use_true_random=False), st.integers(0, 30))
def test_lists_come_back_in_any_order(
    sent: list[rao.DataSegment], shuffler: random.Random, geometry: int
) -> None:
    data = rao.encode_parameter_list(sent)
    assert list(rao.decode_parameter_list(data)) == sent
    order = list(range(len(sent)))
    shuffler.shuffle(order)
    body = b"".join(
        (30 + geometry).to_bytes(2) + data[8 + 32 * place :][2:32] + bytes(geometry)
        for place in order
    )
    answer = rao.decode_answer(b"\x02\0\0\0" + len(body).to_bytes(4) + body)
    assert rao.permutation(answer, sent).tolist() == order


@given(st.binary(max_size=120), st.integers(0, 119), st.integers(0, 255), lists())
def test_no_bytes_make_anything_but_a_typed_error(
    noise: bytes, place: int, value: int, sent: list[rao.DataSegment]
) -> None:
    damaged = bytearray(b"\x02\0\0\0" + rao.encode_parameter_list(sent)[4:])
    damaged[place % len(damaged)] = value
    for data in (noise, bytes(damaged)):
        for decode in (rao.decode_limits, rao.decode_parameter_list, rao.decode_answer):
            with suppress(CorruptMetadataError):
                assert decode(data) is not None
