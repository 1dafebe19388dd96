"""Any tree goes into a store and comes out the same, also after it was changed."""

import os
import shutil
import tempfile
import time
from pathlib import Path

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rehydrate.catalogue.verify import verify_store
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.report import OptimizeOptions
from rehydrate.ingest.store import World, create_store
from rehydrate.ports import SystemClock
from rehydrate.stores.layout import ChunkerSettings
from tests.unit.ingest.trees import of_tree, of_version

SMALL = ChunkerSettings(min_size=512, avg_size=1024, max_size=2048)
NAMES = st.one_of(
    st.sampled_from([b"a", b"a.b", b"a b", b"A", b"\xff\xfe", b"\xc3\xa9", b"-", b"\n", b"\x01"]),
    st.binary(min_size=1, max_size=6).filter(
        lambda n: not set(n) & {0, 47} and n not in {b".", b".."}
    ),
)


@attrs.frozen
class Thing:
    """What to make at a path."""

    kind: str
    seed: int
    size: int


THINGS = st.builds(
    Thing,
    st.sampled_from(["file", "file", "file", "zeros", "sparse", "link", "hard", "directory"]),
    st.integers(0, 5),
    st.sampled_from([0, 1, 511, 512, 513, 2047, 2048, 2049, 5000, 20_000]),
)
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(b"/".join), THINGS, max_size=12)


class LateClock(SystemClock):
    """Ahead of the files, so that what is unchanged is trusted at once."""

    @staticmethod
    def time_ns() -> int:
        return time.time_ns() + 10_000_000_000


def content(thing: Thing) -> bytes:
    if thing.kind == "zeros":
        return bytes(thing.size)
    unit = bytes([thing.seed]) + b"0123456789abcdef" * thing.seed
    return (unit * (thing.size // len(unit) + 1))[: thing.size]


def make(root: Path, tree: dict[bytes, Thing]) -> None:
    """Make what can be made; names that clash with others are left out."""
    files: list[Path] = []
    for name, thing in tree.items():
        path = root / os.fsdecode(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() or path.is_symlink():
                continue
        except (FileExistsError, NotADirectoryError):
            continue
        put(path, thing, files)


def put(path: Path, thing: Thing, files: list[Path]) -> None:
    if thing.kind == "link":
        path.symlink_to(os.fsdecode(content(thing)[:50].replace(b"\0", b"/") or b"x"))
    elif thing.kind == "directory":
        path.mkdir()
    elif thing.kind == "hard" and files:
        os.link(files[thing.seed % len(files)], path)
    elif thing.kind == "sparse":
        with path.open("wb") as stream:
            stream.truncate(thing.size * 5)
            stream.seek(thing.size)
            stream.write(content(thing))
        files.append(path)
    else:
        path.write_bytes(content(thing))
        path.chmod(0o600 | thing.seed)
        files.append(path)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(first=TREES, second=TREES, jobs=st.integers(1, 3), checkpoint=st.sampled_from([1, 4 << 30]))
def test_any_tree_comes_out_as_it_went_in(
    first: dict[bytes, Thing], second: dict[bytes, Thing], jobs: int, checkpoint: int
) -> None:
    base = Path(tempfile.mkdtemp())
    try:
        source, store = base / "source", base / "store"
        source.mkdir()
        options = OptimizeOptions(jobs=jobs, checkpoint_bytes=checkpoint)
        create_store(store, chunker=SMALL, capacity=30_000)
        make(source, first)
        optimize(source, store, options=options, world=World(clock=LateClock()))
        before = of_tree(source)
        assert of_version(store, 1) == before
        for name in list(first)[::2]:
            path = source / os.fsdecode(name)
            if path.is_symlink() or path.is_file():
                path.unlink()
        make(source, second)
        report = optimize(source, store, options=options)
        assert of_version(store, report.version) == of_tree(source)
        assert of_version(store, 1) == before
        assert verify_store(store, read_data=True).ok
    finally:
        shutil.rmtree(base)
