import shutil
from pathlib import Path

import pytest

from tests.cli.stage import program, small_tree


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a source and its store; never changed by a test."""
    root = tmp_path_factory.mktemp("stage")
    source = small_tree(root)
    assert program("optimize", source, root / "store").code == 0
    return root


@pytest.fixture
def stage(made_once: Path, tmp_path: Path) -> Path:
    """Return a directory with a source and a store of its own."""
    shutil.copytree(made_once / "store", tmp_path / "store")
    shutil.copytree(made_once / "source", tmp_path / "source", symlinks=True)
    return tmp_path
