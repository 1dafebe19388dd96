"""The data that is measured: trees made from a seed, the same on every machine.

Nothing is downloaded and nothing is taken from the machine. Text is made of words with a frequency
like that of a language, programs of skewed bytes with short repeats, and what stands for media,
archives and encrypted volumes is random: no codec and no chunker gains from it. Of the distinct
bytes in large files at least 60 % are of that last kind.

Make one with ``python -m benchmarks.dataset KIND FOLDER [--scale S]``.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

SEED: Final = 20_240_229
MIB: Final = 1 << 20
IMAGE_BYTES: Final = 176 * MIB
PAGE: Final = 4096
LARGE: Final = MIB
"""A file of this size or more counts as large."""
_BLOCK: Final = 256
_POOL_BLOCKS: Final = 8_192
_TIME: Final = 1_600_000_000_000_000_000
_SPACE_LEFT: Final = 1 << 30

Bytes = npt.NDArray[np.uint8]


class NoRoomError(Exception):
    """The file system has not enough room for a tree."""


@attrs.frozen(kw_only=True)
class Made:
    """What was made.

    Attributes:
        files: Regular files, hard links counted each.
        logical: Bytes of the files, hard links counted once.
        incompressible: Share of incompressible bytes in the distinct bytes of large files; ``None``
            if there are none.
    """

    files: int
    logical: int
    incompressible: float | None

    def __str__(self) -> str:
        """Say it in one line."""
        large = "no large files"
        if self.incompressible is not None:
            large = f"{self.incompressible:.0%} of the distinct bytes in large files incompressible"
        return f"{self.files:,} files, {self.logical / MIB:,.1f} MiB, {large}"


class Source:
    """Bytes of the three kinds, from one random stream."""

    def __init__(self, seed: int) -> None:
        """Make the pools that text and programs are put together from.

        Args:
            seed: The same seed gives the same bytes.
        """
        self.random = np.random.Generator(np.random.PCG64(seed))
        self._text = self._pool_of_text()
        self._program = self._pool_of_programs()

    def _pool_of_text(self) -> Bytes:
        random = self.random
        letters = np.frombuffer(b"etaoinshrdlucmfwypvbgkjqxz", np.uint8)
        lengths = np.clip(random.poisson(5.0, 6000), 1, 14)
        words = [
            letters[np.minimum(random.geometric(0.12, length) - 1, 25)].tobytes()
            for length in lengths.tolist()
        ]
        ranks = np.minimum(random.zipf(1.3, _POOL_BLOCKS * _BLOCK // 4) - 1, len(words) - 1)
        separators = [b" ", b" ", b" ", b"\n", b", ", b" = ", b"\n    "]
        between = random.integers(0, len(separators), len(ranks)).tolist()
        text = b"".join(
            words[rank] + separators[mark]
            for rank, mark in zip(ranks.tolist(), between, strict=True)
        )
        size = len(text) // _BLOCK * _BLOCK
        return np.frombuffer(text[:size], np.uint8).reshape(-1, _BLOCK)

    def _pool_of_programs(self) -> Bytes:
        random = self.random
        skewed = np.minimum(random.geometric(0.02, (_POOL_BLOCKS, _BLOCK)) - 1, 255)
        pool = skewed.astype(np.uint8)
        repeats = pool[: _POOL_BLOCKS // 2].reshape(-1, 16)
        repeats[1::3] = repeats[0]
        return pool

    def text(self, size: int) -> Bytes:
        """Return ``size`` bytes of text, in an order of its own: no two texts share a chunk."""
        return self._gather(self._text, size)

    def program(self, size: int) -> Bytes:
        """Return ``size`` bytes that compress about as programs do."""
        return self._gather(self._program, size)

    def noise(self, size: int) -> Bytes:
        """Return ``size`` random bytes."""
        return np.frombuffer(self.random.bytes(size), np.uint8)

    def _gather(self, pool: Bytes, size: int) -> Bytes:
        blocks = -(-size // _BLOCK)
        picked = pool[self.random.integers(0, len(pool), blocks)]
        return picked.reshape(-1)[:size]

    def sizes(self, count: int, total: int, *, median: int, sigma: float) -> list[int]:
        """Return sizes of files: log-normal, scaled so that they add up to about ``total``.

        Args:
            count: Number of files.
            total: Bytes of all.
            median: Median before scaling.
            sigma: Width of the distribution; 2 is typical of system trees.
        """
        raw = self.random.lognormal(np.log(median), sigma, count)
        raw = np.minimum(raw, total / 20)
        scaled = raw * (total / raw.sum())
        return [int(size) for size in scaled.tolist()]


class Tree:
    """Writes files with fixed times and modes, and counts them."""

    def __init__(self, root: Path) -> None:
        """Start an empty tree.

        Args:
            root: Directory to make; must not exist.
        """
        root.mkdir(parents=True)
        self.root = root
        self.files = 0
        self.logical = 0
        self.large_distinct = 0
        self.large_noise = 0
        self._folders: set[Path] = {root}

    def add(self, name: str, content: Bytes | bytes, mode: int = 0o644) -> Path:
        """Write a file.

        Args:
            name: Path below the root.
            content: Its bytes.
            mode: Its permission bits.

        Returns:
            Its path.
        """
        path = self.place(name)
        with path.open("xb") as stream:
            stream.write(content if isinstance(content, bytes) else content.data)
        self.finish(path, mode)
        return path

    def place(self, name: str) -> Path:
        """Return the path of a new file; its directories exist."""
        path = self.root / name
        if path.parent not in self._folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(path.parent)
        return path

    def finish(self, path: Path, mode: int = 0o644) -> None:
        """Count a file and set its mode and time."""
        path.chmod(mode)
        self.files += 1
        self.logical += path.stat().st_size
        when = _TIME + self.files * 1_000_000_007
        os.utime(path, ns=(when, when))

    def made(self) -> Made:
        """Give all directories their time, deepest first, and return the counts."""
        for number, folder in enumerate(sorted(self._folders, reverse=True)):
            when = _TIME - number * 1_000_000_009
            os.utime(folder, ns=(when, when))
        share = self.large_noise / self.large_distinct if self.large_distinct else None
        return Made(files=self.files, logical=self.logical, incompressible=share)


def scaled(number: int, scale: float, *, least: int = 1) -> int:
    """Return a number of files or bytes at a scale."""
    return max(round(number * scale), least)


def mixed(root: Path, scale: float = 1.0) -> Made:
    """Make the mixed tree: at scale 1 30,000 files, 2.6 GiB, about 3.5:1 before compression.

    It holds three copies of a system-like tree with small differences, ten images of virtual
    machines (two machines, five states each, shifted and changed in places), blobs that no codec
    makes smaller, thousands of tiny files, a project of 120 files, and links and sparse files.

    Args:
        root: Directory to make.
        scale: Fraction of files and of bytes.
    """
    source, tree = Source(SEED), Tree(root)
    _systems(source, tree, scaled(6_960, scale, least=60), scaled(150 * MIB, scale))
    for machine in range(2):
        _images(source, tree, machine, scaled(IMAGE_BYTES, scale, least=MIB) // PAGE * PAGE)
    blobs = scaled(40, scale, least=4)
    sizes = source.sizes(blobs, scaled(220 * MIB, scale), median=4 * MIB, sigma=0.7)
    for number, size in enumerate(sizes):
        blob = source.noise(size)
        _count_large(tree, size, size)
        tree.add(f"media/{number:03d}.bin", blob, 0o600)
        tree.add(f"archive/{number % 7}/copy-{number:03d}.bin", blob)
    for number in range(scaled(8_850, scale, least=50)):
        size = int(source.random.integers(0, 2048))
        content = source.text(size) if number % 3 else source.noise(size)
        tree.add(f"mail/{number % 97:02d}/{number:06d}", content)
    _project(source, tree)
    _oddities(source, tree, scale)
    return tree.made()


def _systems(source: Source, tree: Tree, count: int, total: int) -> None:
    """Three copies of one tree; in the later ones a twentieth of the files is changed."""
    sizes = source.sizes(count, total, median=5000, sigma=2.0)
    kinds: list[Callable[[int], Bytes]] = [source.text, source.program, source.text, source.noise]
    for number, size in enumerate(sizes):
        kind = number % 7 % 4
        content = kinds[kind](size)
        if size >= LARGE:
            _count_large(tree, size, size if kind == 3 else 0)
        folder = f"usr/{number % 23:02d}/{number // 23 % 13:02d}"
        mode = 0o755 if kind == 1 else 0o644
        for copy in range(3):
            mine = content
            if copy and (number + copy) % 20 == 0 and size:
                mine = content.copy()
                at = int(source.random.integers(0, size))
                mine[at : at + 64] ^= 0x5A
            tree.add(f"system-{copy}/{folder}/{number:05d}", mine, mode)


def _images(source: Source, tree: Tree, machine: int, size: int) -> None:
    """Five states of one machine: each a shift and some changes away from the one before."""
    parts = []
    extent = max(size // 176, PAGE)
    makers: list[tuple[float, Callable[[int], Bytes]]] = [
        (0.66, source.noise),
        (0.78, source.program),
        (0.92, source.text),
        (1.00, lambda count: np.zeros(count, np.uint8)),
    ]
    left = size
    while left:
        count = min(extent, left)
        drawn = float(source.random.random())
        maker = next(maker for share, maker in makers if drawn < share)
        parts.append(maker(count))
        if maker is not makers[-1][1]:
            _count_large(tree, count, count if maker == source.noise else 0)
        left -= count
    image = np.concatenate(parts)
    for state in range(5):
        tree.add(f"machines/{machine}/disk-{state}.img", image, 0o600)
        image = _next_state(source, image, size)


def _next_state(source: Source, image: Bytes, size: int) -> Bytes:
    """Insert a few bytes somewhere, overwrite a few places, keep the size."""
    random = source.random
    at = int(random.integers(PAGE, size // 3))
    shift = int(random.integers(1, PAGE))
    image = np.concatenate((image[:at], source.noise(shift), image[at:]))[:size].copy()
    for _ in range(max(size // (16 * MIB), 1)):
        length = min(64 * 1024, size // 8)
        where = int(random.integers(0, size - length))
        image[where : where + length] = source.noise(length)
    return image


def _project(source: Source, tree: Tree) -> None:
    """The directory of 120 files; the same at every scale."""
    for number, size in enumerate(source.sizes(120, 3 * MIB, median=9000, sigma=1.3)):
        tree.add(f"project/{number % 8}/{number:03d}.py", source.text(size))


def _oddities(source: Source, tree: Tree, scale: float) -> None:
    """Empty and sparse files, hard links, symbolic links."""
    for number in range(scaled(40, scale, least=4)):
        tree.add(f"odd/empty/{number}", b"")
    for number in range(scaled(10, scale, least=2)):
        path = tree.place(f"odd/sparse/{number}")
        with path.open("xb") as stream:
            for piece in range(3):
                stream.seek((1 + 4 * piece) * 64 * 1024)
                stream.write(source.noise(10_000 + piece).data)
            stream.truncate(MIB)
        tree.finish(path)
    for number in range(scaled(20, scale, least=2)):
        first = tree.add(f"odd/linked/{number}-a", source.text(7000))
        second = tree.place(f"odd/linked/{number}-b")
        os.link(first, second)
        tree.files += 1
    for number in range(scaled(30, scale, least=3)):
        tree.place(f"odd/links/{number}").symlink_to(f"../linked/{number}-a")


def _count_large(tree: Tree, size: int, noise: int) -> None:
    tree.large_distinct += size
    tree.large_noise += noise


def all_large(root: Path, scale: float = 1.0) -> Made:
    """Make files of 1 MiB and more: at scale 1 512 MiB, 70 % random, the rest text."""
    source, tree = Source(SEED + 1), Tree(root)
    total = scaled(512 * MIB, scale, least=8 * MIB)
    number = 0
    while tree.logical < total:
        size = int(source.random.integers(MIB, 15 * MIB))
        noise = size * 7 // 10
        content = np.concatenate((source.noise(noise), source.text(size - noise)))
        _count_large(tree, size, noise)
        tree.add(f"{number:03d}.dat", content)
        number += 1
    return tree.made()


def all_tiny(root: Path, scale: float = 1.0) -> Made:
    """Make files below 4 KiB: 10,000 at scale 1."""
    return _small_files(root, scaled(10_000, scale, least=100), 4096)


def many_small(root: Path, scale: float = 1.0) -> Made:
    """Make 200,000 files below 4 KiB at scale 1, for the memory case."""
    return _small_files(root, scaled(200_000, scale, least=500), 4096)


def _small_files(root: Path, count: int, most: int) -> Made:
    source, tree = Source(SEED + 2), Tree(root)
    content = source.text(max(count * 64, MIB)).tobytes()
    for number in range(count):
        size = int(source.random.integers(1, most))
        at = int(source.random.integers(0, len(content) - size))
        head = b"%08d\n" % number
        tree.add(f"{number // 1000:03d}/{number:06d}", (head + content[at : at + size])[:most])
    return tree.made()


def highly_duplicated(root: Path, scale: float = 1.0) -> Made:
    """Make 20 GiB at scale 1 out of 512 MiB: 40 files, each a shift away from the same bytes."""
    source, tree = Source(SEED + 3), Tree(root)
    size = scaled(512 * MIB, scale, least=MIB)
    base = source.noise(size)
    _count_large(tree, size, size)
    for number in range(40):
        turn = int(source.random.integers(0, size))
        path = tree.place(f"{number:02d}.vol")
        with path.open("xb") as stream:
            stream.write(base[turn:].data)
            stream.write(base[:turn].data)
        tree.finish(path)
    return tree.made()


KINDS: Final[dict[str, tuple[Callable[[Path, float], Made], int]]] = {
    "mixed": (mixed, 2660 * MIB),
    "all-large": (all_large, 530 * MIB),
    "all-tiny": (all_tiny, 40 * MIB),
    "many-small": (many_small, 820 * MIB),
    "highly-duplicated": (highly_duplicated, 20 << 30),
}
"""Maker of each kind, and the bytes on disk that it takes at scale 1."""


def make(kind: str, root: Path, scale: float = 1.0) -> Made:
    """Make a tree.

    Args:
        kind: One of :data:`KINDS`.
        root: Directory to make; must not exist.
        scale: Fraction of files and of bytes.

    Returns:
        The counts.

    Raises:
        NoRoomError: The file system would be left with less than 1 GiB.
    """
    maker, size = KINDS[kind]
    root.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root.parent).free
    if free < size * scale + _SPACE_LEFT:
        raise NoRoomError(f"{root.parent} has {free >> 20} MiB free, too few for {kind}")
    return maker(root, scale)


def regular_files(root: Path) -> list[str]:
    """Return the paths of all regular files below a root, sorted."""
    return sorted(
        str((Path(folder) / name).relative_to(root))
        for folder, _, names in os.walk(root)
        for name in names
        if not (Path(folder) / name).is_symlink()
    )


def one_in_a_hundred(files: list[str]) -> list[str]:
    """Return 1 % of the files, drawn at random, the same for the same list; sorted."""
    count = max(len(files) // 100, 1)
    random = np.random.Generator(np.random.PCG64(SEED))
    return sorted(files[index] for index in random.permutation(len(files))[:count].tolist())


def main() -> int:
    """Make one tree and say what is in it."""
    parser = argparse.ArgumentParser(prog="benchmarks.dataset")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    print(make(options.kind, options.folder, options.scale))
    return 0


if __name__ == "__main__":
    sys.exit(main())
