"""The kit for vendors: tests to subclass, a small corpus, faults to put around a store.

Subclass :class:`rehydrate.conformance.kit.StoreConformance` in a test module of your own; that
module alone needs pytest, which the ``conformance`` extra installs. The rest helps to write further
tests of an adapter.
"""

from rehydrate.conformance.corpus import Corpus, build_corpus
from rehydrate.conformance.faults import (
    Call,
    CuttingStore,
    FailingStore,
    RecordingStore,
    ShufflingStore,
)
from rehydrate.conformance.memory import MemoryStore
from rehydrate.conformance.world import Gap, World

__all__ = [
    "Call",
    "Corpus",
    "CuttingStore",
    "FailingStore",
    "Gap",
    "MemoryStore",
    "RecordingStore",
    "ShufflingStore",
    "World",
    "build_corpus",
]
