"""The samples about tapes do what they say, and what they claim holds where data is damaged, too."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rehydrate import ContainerExtent, RestoreOptions, RestoreRequest, StorePath, TargetRoot
from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.engine.restore import restore_files
from samples import sequential_device, tape_order
from samples.sequential_device import ForwardOnly, SequentialStore


@pytest.mark.parametrize("sample", [tape_order, sequential_device])
def test_a_sample_runs_as_a_program(sample: object, tmp_path: Path) -> None:
    clean = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(getattr(sample, "__file__", ""))],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 reads, all right: True" in done.stdout or "in one pass" in done.stdout


def test_pieces_are_read_as_they_lie(tmp_path: Path) -> None:
    world, catalogue = tape_order.example()
    store = tape_order.TapeStore(catalogue)
    with TargetRoot(tmp_path) as target:
        restore_files(world.requests, store, target).raise_for_failures()
    for name, content in world.expected.items():
        assert (tmp_path / name).read_bytes() == content
    assert [line.split()[1] for line in store.log if line.startswith("mount")] == ["I1", "F1"]
    blocks = [line.split()[1] for line in store.log if line.startswith("locate")]
    assert blocks == ["I1:80", "I1:7", "I1:40", "F1:5", "F1:90"]


class Rewound(SequentialStore):
    """Rewinds at each order call: what comes between is one pass."""

    device: ForwardOnly

    def __init__(self, data: bytes, places: dict[str, tuple[int, int]]) -> None:
        super().__init__(ForwardOnly(data), places)
        self.data = data

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        self.device = ForwardOnly(self.data)
        return super().order_containers_restore(containers)


def test_repairs_have_passes_of_their_own(tmp_path: Path) -> None:
    sequential_device.example(tmp_path)
    data, places = sequential_device.on_device(tmp_path / "store")
    first, size = max(places.values())
    damaged = bytearray(data)
    damaged[first + size // 2] ^= 1
    store = Rewound(bytes(damaged), places)
    with NativeCatalogue.open(tmp_path / "store") as catalogue:
        entries = list(catalogue.entries(catalogue.versions()[-1].number))
    requests = [RestoreRequest(entry.stub, entry.path) for entry in entries]
    with TargetRoot(tmp_path / "out") as target:
        report = restore_files(requests, store, target, options=RestoreOptions(jobs=1))
    assert not report.ok
    assert store.rounds > 2
    failed = {result.target for result in report.failures}
    for path in (tmp_path / "tree").iterdir():
        if path.name not in failed:
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_the_device_cannot_go_back() -> None:
    device = ForwardOnly(b"abcdef")
    assert device.read_at(2, 2) == b"cd"
    with pytest.raises(SystemExit, match="cannot go back"):
        device.read_at(3, 1)


def test_a_container_that_is_not_on_the_device_costs_its_own_files_only(tmp_path: Path) -> None:
    sequential_device.example(tmp_path)
    data, places = sequential_device.on_device(tmp_path / "store")
    del places[max(path for path in places if path.startswith("Data/"))]
    with NativeCatalogue.open(tmp_path / "store") as catalogue:
        entries = list(catalogue.entries(catalogue.versions()[-1].number))
    requests = [RestoreRequest(entry.stub, entry.path) for entry in entries]
    store = Rewound(data, places)
    with TargetRoot(tmp_path / "out") as target:
        report = restore_files(requests, store, target, options=RestoreOptions(jobs=1))
    failures = list(report.failures)
    assert 0 < len(failures) < len(report)
    assert {one.error.code for one in failures if one.error} == {"store.container-missing"}
