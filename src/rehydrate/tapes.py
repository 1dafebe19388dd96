"""Tapes: LTFS volumes as a store, drives, mounting, and the models behind the order of reading.

This is the public face of these; the rooms behind it may change.
"""

from rehydrate.media.geometry import (
    FORMATS,
    Heads,
    TapeFormat,
    TapeGeometry,
    WrapEnd,
    native_geometry,
    reported_geometry,
)
from rehydrate.media.locate import CostModel, Regression, TapeModel, model_of
from rehydrate.media.ordering import (
    Kept,
    Method,
    Ordering,
    OrderOptions,
    VolumeOrder,
    order_segments,
)
from rehydrate.media.pricing import Alternative, Tape
from rehydrate.media.rao import AccessOrder, DataSegment, Process
from rehydrate.media.segments import UNKNOWN, Segments
from rehydrate.media.volumes import Mount, batches, complete_files, schedule, step_ends
from rehydrate.stores.ltfs.beside import ContainerFolder, CopiedFiles, TapedStore
from rehydrate.stores.ltfs.catalogue import ContainerCatalogue, Piece, Pieces, WholeFiles
from rehydrate.stores.ltfs.inventory import Inventory, load_inventories
from rehydrate.stores.ltfs.label import LtfsLabel
from rehydrate.stores.ltfs.mounted import Attributes, MountedDrive, MountedFile, mounted_volume
from rehydrate.stores.ltfs.ordering import VolumeNeed
from rehydrate.stores.ltfs.store import AtHand, LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume, TapeExtent
from rehydrate.stores.tape.drive import (
    MountRequest,
    MountsVolumes,
    RecommendsOrder,
    Stretch,
    TapeDrive,
    TapePosition,
    TellsVolume,
    TellsWraps,
)
from rehydrate.stores.tape.image import TapeImage
from rehydrate.stores.tape.linux_sg import Ioctl, SgDrive
from rehydrate.stores.tape.linux_st import ReadCall, StDrive

__all__ = [
    "FORMATS",
    "UNKNOWN",
    "AccessOrder",
    "Alternative",
    "AtHand",
    "Attributes",
    "ContainerCatalogue",
    "ContainerFolder",
    "CopiedFiles",
    "CostModel",
    "DataSegment",
    "Heads",
    "Inventory",
    "Ioctl",
    "Kept",
    "LtfsLabel",
    "LtfsStore",
    "LtfsVolume",
    "Method",
    "Mount",
    "MountRequest",
    "MountedDrive",
    "MountedFile",
    "MountsVolumes",
    "OrderOptions",
    "Ordering",
    "Piece",
    "Pieces",
    "Process",
    "ReadCall",
    "RecommendsOrder",
    "Regression",
    "Segments",
    "SgDrive",
    "StDrive",
    "Stretch",
    "Tape",
    "TapeDrive",
    "TapeExtent",
    "TapeFormat",
    "TapeGeometry",
    "TapeImage",
    "TapeModel",
    "TapePosition",
    "TapedStore",
    "TellsVolume",
    "TellsWraps",
    "VolumeNeed",
    "VolumeOrder",
    "WholeFiles",
    "WrapEnd",
    "batches",
    "complete_files",
    "load_inventories",
    "model_of",
    "mounted_volume",
    "native_geometry",
    "order_segments",
    "reported_geometry",
    "schedule",
    "step_ends",
]
