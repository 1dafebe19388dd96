"""The native chunk store: make one, put trees into it, look into it.

This is the public face of these; the rooms behind it may change.
"""

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.catalogue.reading import StoreReader
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.report import (
    OptimizeObserver,
    OptimizeOptions,
    OptimizeProgress,
    OptimizeReport,
    Skipped,
)
from rehydrate.ingest.store import create_store
from rehydrate.stores.layout import ChunkerSettings, StoreConfiguration

__all__ = [
    "ChunkerSettings",
    "NativeCatalogue",
    "OptimizeObserver",
    "OptimizeOptions",
    "OptimizeProgress",
    "OptimizeReport",
    "Skipped",
    "StoreConfiguration",
    "StoreReader",
    "create_store",
    "optimize",
]
