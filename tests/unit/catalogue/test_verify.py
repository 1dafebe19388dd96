import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from blake3 import blake3

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.catalogue.verify import verify_store
from rehydrate.errors import StoreError
from rehydrate.formats.native.catalogue import (
    Manifest,
    encode_manifest,
    encode_segment,
    manifest_name,
    seal_manifest,
)
from rehydrate.formats.native.layout import KIND_SEGMENT, MAP_PARTS, RECORD_SIZE
from rehydrate.formats.native.stub import encode_stub, parse_stub
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.store import create_store, opened_store
from rehydrate.stores.layout import ChunkerSettings
from tests.unit.ingest.test_optimize import LATER
from tests.unit.ingest.trees import rows_of

SMALL = ChunkerSettings(min_size=1024, avg_size=2048, max_size=4096)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(4):
        (source / f"file{number}").write_bytes(random.Random(number).randbytes(8000))
    (source / "long").write_bytes(random.Random(9).randbytes(60_000))
    (source / "zeros").write_bytes(bytes(100_000))
    (source / "link").symlink_to("x")
    path = tmp_path / "store"
    create_store(path, chunker=SMALL)
    optimize(source, path)
    (source / "file9").write_bytes(b"new")
    optimize(source, path, world=LATER)
    return path


def spoil(path: Path, offset: int, data: bytes = b"\xa5" * 8) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def row_of(store: Path, path: bytes, number: int) -> np.void:
    with NativeCatalogue.open(store) as catalogue:
        (entry,) = catalogue.entries(2, [path])
    row: np.void = rows_of(store, parse_stub(entry.stub))[number]
    return row


def container(store: Path, kind: str) -> Path:
    (path,) = (store / kind).glob("*.rhc")
    return path


def test_a_good_store_is_good(store: Path) -> None:
    told: list[int] = []
    report = verify_store(store, read_data=True, tell=told.append)
    assert report.ok
    assert (report.versions, report.entries, report.containers) == (2, 15, 2)
    assert sum(told) == report.bytes_read > 90_000
    assert verify_store(store).bytes_read == 0
    assert report.as_record()["ok"] is True


def test_a_rotten_chunk_is_found_by_reading_only_with_the_files_that_need_it(
    store: Path,
) -> None:
    row = row_of(store, b"file1", 0)
    spoil(container(store, "Data"), int(row["offset"]) + RECORD_SIZE + 10)
    assert verify_store(store).ok
    report = verify_store(store, read_data=True, jobs=2)
    assert not report.ok
    (record,) = report.damaged_records
    assert (record.offset, record.length) == (int(row["offset"]), int(row["length"]))
    assert record.local_id == int(row["local_id"])
    assert [(file.version, file.path) for file in report.damaged_files] == [
        (1, b"file1"),
        (2, b"file1"),
    ]
    assert report.damaged_versions == ()
    plain: Any = report.as_record()
    assert plain["damaged_files"][0]["path"] == "file1"


def test_a_chunk_with_right_sums_and_wrong_content_is_found(store: Path, tmp_path: Path) -> None:
    """Resealed: the record's check and CRC-64 are made again, only the digest is wrong."""
    with opened_store(store) as writer:
        wrong = b"these bytes have another digest"
        writer.append_chunk(wrong, logical_size=len(wrong), digest=bytes(32), compression=0)
        writer.commit_data()
    assert verify_store(store).ok
    (record,) = verify_store(store, read_data=True).damaged_records
    assert "digest" in record.reason


def test_a_damaged_header_breaks_the_chain_and_only_its_record_is_lost(store: Path) -> None:
    row = row_of(store, b"file2", 1)
    spoil(container(store, "Data"), int(row["offset"]) + 20)
    report = verify_store(store)
    (damage,) = report.damaged_containers
    assert damage.reason.startswith("the chain of commits breaks behind offset 4096")
    assert {file.path for file in report.damaged_files} == {b"file2"}
    assert verify_store(store, read_data=True).damaged_files == report.damaged_files


@pytest.mark.parametrize("how", ["missing", "header", "short", "foreign"])
def test_a_lost_data_container_costs_the_files_in_it(store: Path, how: str) -> None:
    path = container(store, "Data")
    if how == "missing":
        path.unlink()
    elif how == "header":
        spoil(path, 100)
    elif how == "foreign":
        create_store(store.parent / "other")
        optimize(store.parent / "source", store.parent / "other")
        shutil.copy(container(store.parent / "other", "Data"), path)
    else:
        with path.open("r+b") as stream:
            stream.truncate(5000)
    report = verify_store(store)
    assert [damage.path for damage in report.damaged_containers] == [f"Data/{path.name}"]
    assert {f.path for f in report.damaged_files} >= {b"file3", b"long"}
    assert b"zeros" not in {f.path for f in report.damaged_files}


def test_a_lost_stream_map_costs_its_file(store: Path) -> None:
    with NativeCatalogue.open(store) as catalogue:
        (entry,) = catalogue.entries(2, [b"long"])
    stub = parse_stub(entry.stub)
    assert stub.map_kind == MAP_PARTS
    spoil(container(store, "Stream"), int(stub.rows[0]["offset"]) + RECORD_SIZE + 3)
    report = verify_store(store)
    assert {f.path for f in report.damaged_files} == {b"long"}
    assert report.damaged_files[0].reason.startswith("its stream map is lost")
    assert len(verify_store(store, read_data=True).damaged_records) == 1


def test_a_lost_segment_costs_part_of_its_versions(store: Path) -> None:
    with NativeCatalogue.open(store) as catalogue:
        row = catalogue.manifest(2).segments[0]
    spoil(container(store, "Stream"), int(row["offset"]) + RECORD_SIZE + 30)
    report = verify_store(store)
    assert 2 in [damage.version for damage in report.damaged_versions]


def test_a_damaged_manifest_costs_its_version(store: Path) -> None:
    spoil(store / "versions" / manifest_name(1), 40)
    report = verify_store(store)
    assert [damage.version for damage in report.damaged_versions] == [1]


def test_bytes_behind_the_last_commit_and_foreign_names_are_no_damage(store: Path) -> None:
    with container(store, "Data").open("ab") as stream:
        stream.write(b"x" * 99)
    (store / "Data" / "readme").touch()
    (store / "Data" / ".hidden").touch()
    (store / "Data" / "00000099.00000001.rhc").touch()
    report = verify_store(store, read_data=True)
    assert report.ok
    assert len(report.notices) == 3


def test_a_truncated_record_is_found(store: Path) -> None:
    """The chain holds up to the end of a file that loses its tail while it is read."""
    path = container(store, "Data")

    def cut(_size: int) -> None:
        os.truncate(path, 20_000)

    report = verify_store(store, read_data=True, jobs=1)
    assert report.ok
    cut(0)
    assert not verify_store(store, read_data=True).ok


def resealed(store: Path, change: "Callable[[list[bytes], list[bytes]], Entries]") -> None:
    """Publish version 2 again after ``change`` to its entries, all sums made again."""
    with NativeCatalogue.open(store) as catalogue:
        manifest = catalogue.manifest(2)
        paths, stubs = catalogue.stubs(2)
    paths, stubs = change(paths, stubs)
    payload = encode_segment(paths, stubs)
    digest = blake3(payload).digest()
    with opened_store(store) as writer:
        place = writer.append_stream(KIND_SEGMENT, payload, digest)
        rows = manifest.segments[:1].copy()
        rows["end"] = len(paths)
        for name in ("container", "generation", "offset", "local_id", "length"):
            rows[name] = getattr(place, name)
        rows["digest"] = np.frombuffer(digest, "V32")
        writer.publish(
            attrs.evolve(manifest, segments=rows, first_paths=(paths[0],), entries=len(paths))
        )


Entries = tuple[list[bytes], list[bytes]]


class Change:
    """Changes the stub of one entry."""

    def __init__(self, path: bytes, **fields: Any) -> None:
        self.path = path
        self.fields = fields

    def __call__(self, paths: list[bytes], stubs: list[bytes]) -> Entries:
        at = paths.index(self.path)
        stub = attrs.evolve(parse_stub(stubs[at]), **self.fields)
        return paths, [*stubs[:at], encode_stub(stub), *stubs[at + 1 :]]


def changed_rows(store: Path, **fields: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    with NativeCatalogue.open(store) as catalogue:
        (entry,) = catalogue.entries(2, [b"file1"])
    rows = parse_stub(entry.stub).rows.copy()
    for name, value in fields.items():
        rows[name][0] = value
    return rows


@pytest.mark.parametrize(
    "fields",
    [
        {"container": 99}, {"generation": 3}, {"offset": 4104}, {"offset": 1 << 62},
        {"local_id": 2000}, {"length": 90}, {"end": 5}, {"end": 1 << 62}, {"container": 0},
    ],
)  # fmt: skip
def test_references_that_lead_nowhere_are_found_however_well_sealed(
    store: Path, fields: dict[str, int]
) -> None:
    resealed(store, Change(b"file1", rows=changed_rows(store, **fields)))
    for read_data in (False, True):
        report = verify_store(store, read_data=read_data)
        assert [(f.version, f.path) for f in report.damaged_files] == [(2, b"file1")]
    assert optimize(store.parent / "source", store).ok


def test_a_stub_of_another_store_or_of_no_kind_is_found(store: Path) -> None:
    with NativeCatalogue.open(store) as catalogue:
        other = type(catalogue.store_id)(int=5)
    resealed(store, Change(b"file1", store=other))
    assert [f.path for f in verify_store(store).damaged_files] == [b"file1"]

    def shorter(paths: list[bytes], stubs: list[bytes]) -> Entries:
        return paths, [stubs[0][:-1], *stubs[1:]]

    resealed(store, shorter)
    assert [f.path for f in verify_store(store).damaged_files] == [b"file0", b"file1"]
    assert optimize(store.parent / "source", store, world=LATER).ok
    assert {f.version for f in verify_store(store).damaged_files} == {2}


def test_a_segment_that_does_not_belong_there_is_found(store: Path) -> None:
    def republish(**changes: Any) -> Manifest:
        with NativeCatalogue.open(store) as catalogue:
            manifest = attrs.evolve(catalogue.manifest(1), **changes)
        payload = encode_manifest(manifest)
        (store / "versions" / manifest_name(1)).write_bytes(seal_manifest(payload))
        return manifest

    republish(first_paths=(b"another",))
    (damage,) = verify_store(store).damaged_versions
    assert "does not belong there" in damage.reason


def test_a_map_part_that_was_never_committed_is_found(store: Path) -> None:
    """Its bytes are right and another copy of the stream map stands there: only the id differs."""
    with NativeCatalogue.open(store) as catalogue:
        (entry,) = catalogue.entries(2, [b"long"])
    rows = parse_stub(entry.stub).rows.copy()
    rows["end"] = rows["end"] + 1
    resealed(store, Change(b"long", rows=rows, size=int(rows["end"][-1])))
    assert [f.path for f in verify_store(store).damaged_files] == [b"long"]


def test_no_store_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        verify_store(tmp_path)
