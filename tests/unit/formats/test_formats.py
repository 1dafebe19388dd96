"""The native format as the engine sees it, and which format a stub belongs to."""

import numpy as np
import pytest
from blake3 import blake3

from rehydrate.errors import CorruptMetadataError
from rehydrate.formats.detect import FORMATS, StubOwner, format_of, owner_of
from rehydrate.formats.native import layout
from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.native.stub import NativeStub, encode_stub
from rehydrate.formats.walk import DATA, STREAM, Limits
from rehydrate.formats.windows.format import WINDOWS
from tests.spec.small_store import STORE, ContainerWriter, hole_row, make_store, zero_row


def test_native_format_describes_itself() -> None:
    assert NATIVE.name == "native"
    assert not NATIVE.has_recall
    assert NATIVE.map_overhead == layout.RECORD_SIZE == 72
    assert NATIVE.digest(b"abc") == blake3(b"abc").digest()
    assert NATIVE.container_path(STREAM, 10, 2) == "Stream/0000000a.00000002.rhc"


def test_owner_of_a_stub() -> None:
    owner = owner_of(encode_stub(NativeStub(store=STORE)))
    assert owner == StubOwner("native", STORE.bytes)
    assert owner is not None
    assert owner.store_id == STORE
    assert owner_of(b"no stub of anybody") is None


def test_formats_are_found_by_name() -> None:
    assert FORMATS == (NATIVE, WINDOWS)
    assert format_of(StubOwner("native", bytes(16))) is NATIVE
    with pytest.raises(KeyError):
        format_of(StubOwner("other", bytes(16)))


def test_map_is_the_table_itself() -> None:
    rows = np.concatenate([zero_row(5), hole_row(9)])
    assert np.array_equal(NATIVE.decode_map(rows.tobytes()), rows)
    assert len(NATIVE.decode_map(b"")) == 0
    with pytest.raises(CorruptMetadataError) as caught:
        NATIVE.decode_map(rows.tobytes()[:-1])
    assert caught.value.code == "map.size"


def test_decoders_differ_by_kind() -> None:
    for kind, record in ((DATA, layout.KIND_CHUNK), (STREAM, layout.KIND_STREAM_MAP)):
        writer = ContainerWriter(kind, 1)
        ref = writer.add(record, b"text")
        data = memoryview(bytes(writer.data[ref.offset : ref.offset + ref.length]))
        assert NATIVE.decoder(kind).decode(data, 1, 4, ref.digest) == b"text"
        other = STREAM if kind == DATA else DATA
        with pytest.raises(CorruptMetadataError):
            NATIVE.decoder(other).decode(data, 1, 4, ref.digest)


def test_repair_is_that_of_the_format() -> None:
    writer = ContainerWriter(DATA, 1)
    ref = writer.add_chunk(b"text")
    walk = NATIVE.repair(ref)
    next(walk)
    with pytest.raises(StopIteration) as end:
        walk.send((bytes(writer.data[ref.offset : ref.offset + ref.length]), None, None))
    assert end.value.value == b"text"


def test_stubs_of_a_store_are_decoded() -> None:
    small = make_store()
    table = NATIVE.decode_stubs(list(small.stubs.values()), Limits())
    assert not table.errors
    assert int(table.in_parts.sum()) == 1


def test_structures_have_the_sizes_that_the_page_says() -> None:
    sizes = {
        layout.CONTAINER_HEADER: 104,
        layout.RECORD: 72,
        layout.PLACE: 32,
        layout.COMMIT: 88,
        layout.STUB_HEAD: 136,
        layout.PROPERTY: 8,
        layout.XATTR: 8,
        layout.SEGMENT: 20,
        layout.MANIFEST: 24,
        layout.TOMBSTONE_ENTRY: 32,
    }
    assert [structure.size for structure in sizes] == list(sizes.values())
    assert layout.STUB_DTYPE.itemsize == 136


@pytest.mark.parametrize(
    ("offset", "boundary", "aligned"),
    [(0, 8, 0), (1, 8, 8), (8, 8, 8), (4097, 4096, 8192), (2**62 + 1, 8, 2**62 + 8)],
)
def test_align(offset: int, boundary: int, aligned: int) -> None:
    assert layout.align(offset, boundary) == aligned
