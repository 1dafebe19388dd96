"""The corpus of the kit: a small native store built the same way each time, and its contents.

It has two data containers and one of stream maps, chunks of 1 byte to 200 KiB, compressed and
plain, shared between files, bytes that nobody needs in between, holes, zeros and an empty file.
"""

import random
from collections.abc import Mapping
from typing import Final

import attrs

from rehydrate.conformance.world import Gap, World
from rehydrate.requests import RestoreRequest
from rehydrate.values import StorePath

__all__ = ["Corpus", "build_corpus"]

_SEED: Final = 20_240_229
_SIZES: Final = (1, 7, 64, 4095, 4096, 4097, 65_536, 200_000)


@attrs.frozen(eq=False)
class Corpus:
    """A store and what comes out of it.

    Attributes:
        containers: Bytes of each container, by store path.
        requests: One request for each file, in no special order of places.
        expected: Content of each file, by target.
    """

    containers: Mapping[StorePath, bytes]
    requests: tuple[RestoreRequest, ...]
    expected: Mapping[str, bytes]


def build_corpus() -> Corpus:
    """Return the corpus; equal bytes each time."""
    source = random.Random(_SEED)  # noqa: S311 - test data needs a seed, not secrecy
    world = World()
    shared = world.chunk(b"shared by many files " * 400, 1, compress=True)
    for number, size in enumerate(_SIZES):
        container = 1 + number % 2
        text = world.chunk(f"{number:08d} ".encode() * (size // 9 + 1), container, compress=True)
        noise = world.chunk(source.randbytes(size), container)
        world.data(container).pad(8 * source.randrange(0, 3000))
        world.file(f"small/{size}", [noise])
        world.file(f"mixed/{size}", [shared, noise, Gap(5000), text])
        world.mapped_file(
            f"maps/{size}",
            [[noise, shared, Gap(70_000, hole=True)], [text, noise, shared, shared, text]],
        )
    world.file("empty", [])
    world.seal()
    return Corpus(dict(world.files), tuple(world.requests), dict(world.expected))
