"""Drive-side ordering: documented bytes, round trips, and lists that lie."""

from collections.abc import Callable

import pytest

from rehydrate.errors import CorruptMetadataError, LimitError, RequestError
from rehydrate.media import rao
from rehydrate.media.rao import AccessOrder, DataSegment, Process, RaoLimits

ONE = DataSegment(b"0000000001", 1, 0x0102030405060708, 0x1112131415161718)
DESCRIPTOR = bytes.fromhex(
    "001e" "000000" "30303030303030303031" "01" "0102030405060708" "1112131415161718"
)  # fmt: skip


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (rao.receive_command(4, limits=True), "a39d 00000000 00000004 00 00"),
        (rao.receive_command(0x01020304, offset=0x11121314), "a31d 11121314 01020304 00 00"),
        (rao.receive_command(8, segment_type=1), "a31d 00000000 00000008 01 00"),
        (rao.generate_command(Process.REORDER, 40), "a41d 02 00 0000 00000028 00 00"),
        (rao.generate_command(Process.ESTIMATE, 40, segment_type=7), "a41d010700000000002800 00"),
    ],
)
def test_commands_are_the_documented_bytes(command: bytes, wanted: str) -> None:
    assert command == bytes.fromhex(wanted)
    assert len(command) == 12


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: rao.receive_command(1 << 32), id="allocation"),
        pytest.param(lambda: rao.receive_command(8, offset=-1), id="offset"),
        pytest.param(lambda: rao.receive_command(8, segment_type=8), id="type"),
        pytest.param(lambda: rao.generate_command(Process.REORDER, -1), id="length"),
    ],
)
def test_numbers_that_do_not_fit_a_command(make: Callable[[], bytes]) -> None:
    with pytest.raises(RequestError) as caught:
        make()
    assert caught.value.code == "rao.command"


def test_parameter_list_is_the_documented_bytes() -> None:
    data = rao.encode_parameter_list([ONE, rao.UNLOAD])
    unload = bytes.fromhex("001e" + 30 * "00")
    assert data == bytes.fromhex("00000000 00000040") + DESCRIPTOR + unload
    assert rao.decode_parameter_list(data) == (ONE, rao.UNLOAD)


def test_fixed_points() -> None:
    start = rao.pinned_start(1, 77)
    assert (start.partition, start.first, start.last) == (1, 77, 77)
    assert rao.name_of(12) == b"0000000012"


def test_a_list_longer_than_the_drive_takes_is_refused() -> None:
    limits = rao.decode_limits(bytes.fromhex("0aaa 0034"))
    assert limits == RaoLimits(rao.DEFAULT_SEGMENTS, 52)
    with pytest.raises(LimitError) as caught:
        rao.encode_parameter_list([ONE] * 3, RaoLimits(2, 32))
    assert caught.value.code == "rao.too-many"


@pytest.mark.parametrize("page", ["", "0aaa00", "00000020", "0aaa001f"])
def test_limits_that_make_no_sense(page: str) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        rao.decode_limits(bytes.fromhex(page))
    assert caught.value.code == "rao.limits"


def answer(*descriptors: bytes, head: str = "0201 0000") -> bytes:
    body = b"".join(descriptors)
    return bytes.fromhex(head) + len(body).to_bytes(4) + body


def test_answer_is_read_and_geometry_behind_a_descriptor_is_stepped_over() -> None:
    longer = bytes.fromhex("0032") + DESCRIPTOR[2:] + bytes(20)
    data = answer(longer, DESCRIPTOR)
    assert rao.answer_length(data[:8]) == len(data) == 8 + 52 + 32
    assert rao.decode_answer(data) == AccessOrder(
        Process.REORDER, 1, (ONE, ONE), behind=(bytes(20), b"")
    )


def test_estimate_only_answers_keep_the_order() -> None:
    found = rao.decode_answer(answer(DESCRIPTOR, head="0100 0000"))
    assert found.process is Process.ESTIMATE


def test_every_cut_is_noticed() -> None:
    data = answer(DESCRIPTOR, DESCRIPTOR)
    for end in range(len(data)):
        with pytest.raises(CorruptMetadataError):
            rao.decode_answer(data[:end])
    listed = rao.encode_parameter_list([ONE])
    for end in range(len(listed)):
        with pytest.raises(CorruptMetadataError):
            rao.decode_parameter_list(listed[:end])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(answer(DESCRIPTOR) + b"\0", id="bytes behind"),
        pytest.param(answer(b"\x00\x1d" + DESCRIPTOR[2:]), id="descriptor too short"),
        pytest.param(answer(b"\x00\x0e" + DESCRIPTOR[2:16] + DESCRIPTOR), id="descriptor cut"),
        pytest.param(answer(b"\x00\x1f" + DESCRIPTOR[2:]), id="descriptor over the end"),
        pytest.param(answer(DESCRIPTOR, b"\0\0"), id="half a descriptor"),
        pytest.param(answer(DESCRIPTOR[:16] + b"\xff" * 8 + bytes(8)), id="end before begin"),
        pytest.param(answer(DESCRIPTOR, head="00000000"), id="no process"),
        pytest.param(bytes.fromhex("02000000 ffffffff"), id="huge"),
    ],
)
def test_lists_that_lie(data: bytes) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        rao.decode_answer(data)
    assert caught.value.code == "rao.list"


def test_reserved_bytes_of_a_parameter_list_are_zero() -> None:
    with pytest.raises(CorruptMetadataError, match="reserved"):
        rao.decode_parameter_list(b"\1" + rao.encode_parameter_list([ONE])[1:])


@pytest.mark.parametrize(
    ("name", "partition", "first", "last"),
    [(b"12345678901", 0, 0, 0), (b"a\0", 0, 0, 0), (b"a", 256, 0, 0), (b"a", 0, -1, 0),
     (b"a", 0, 0, 1 << 64), (b"a", 0, 2, 1)],
)  # fmt: skip
def test_segments_that_the_layout_cannot_hold(
    name: bytes, partition: int, first: int, last: int
) -> None:
    with pytest.raises(RequestError) as caught:
        DataSegment(name, partition, first, last)
    assert caught.value.code == "rao.segment"


SENT = [DataSegment(rao.name_of(n), 0, 10 * n, 10 * n + 5) for n in range(3)]


def test_answer_becomes_a_permutation() -> None:
    found = rao.permutation(AccessOrder(Process.REORDER, 0, (SENT[2], SENT[0], SENT[1])), SENT)
    assert found.tolist() == [2, 0, 1]
    with_start = (rao.pinned_start(0, 7), *SENT)
    for back in [with_start, tuple(SENT)]:
        order = rao.permutation(AccessOrder(Process.REORDER, 0, back), with_start)
        assert [place for place in order.tolist() if place] == [1, 2, 3]
    with_unload = [*SENT, rao.UNLOAD]
    for back in [(*SENT, rao.UNLOAD), tuple(SENT)]:
        order = rao.permutation(AccessOrder(Process.REORDER, 0, back), with_unload)
        assert order.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "back",
    [
        pytest.param((SENT[0], SENT[1]), id="missing"),
        pytest.param((*SENT, SENT[0]), id="twice"),
        pytest.param((*SENT, ONE), id="foreign"),
        pytest.param((*SENT[:2], DataSegment(SENT[2].name, 0, 20, 26)), id="changed"),
        pytest.param((*SENT, rao.UNLOAD), id="unload that was not sent"),
    ],
)
def test_answers_that_are_no_permutation(back: tuple[DataSegment, ...]) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        rao.permutation(AccessOrder(Process.REORDER, 0, back), SENT)
    assert caught.value.code == "rao.answer"


def test_names_must_tell_segments_apart() -> None:
    with pytest.raises(RequestError, match="distinct"):
        rao.permutation(AccessOrder(Process.REORDER, 0, ()), [SENT[0], SENT[0]])
