import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.stores.images.disks import disk_bytes


@pytest.fixture
def needs() -> Callable[..., None]:
    """Skip, visibly, where a program or a binding that the test needs is not installed."""

    def check(*names: str) -> None:
        missing = [
            name
            for name in names
            if shutil.which(name) is None
            and (not name.startswith("py") or importlib.util.find_spec(name) is None)
        ]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")

    return check


@pytest.fixture
def disk(tmp_path: Path) -> bytes:
    """The bytes of a disk, also written as ``disk.raw``."""
    data = disk_bytes()
    (tmp_path / "disk.raw").write_bytes(data)
    return data


@pytest.fixture
def qemu_img(tmp_path: Path, needs: Callable[..., None]) -> Callable[..., None]:
    """Run ``qemu-img`` in the test's directory."""
    needs("qemu-img")

    def run(*arguments: str) -> None:
        subprocess.run(["qemu-img", *arguments], cwd=tmp_path, check=True, capture_output=True)

    return run
