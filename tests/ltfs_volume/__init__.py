"""Small LTFS volumes for tests, written to order, and a drive that counts what it is asked to do."""

from tests.ltfs_volume.drive import CountingDrive, Library
from tests.ltfs_volume.samples import SAMPLES, sample
from tests.ltfs_volume.tree import Node, changes_xml, contents_xml, gone_xml
from tests.ltfs_volume.writer import Extent, VolumeWriter

__all__ = [
    "SAMPLES",
    "CountingDrive",
    "Extent",
    "Library",
    "Node",
    "VolumeWriter",
    "changes_xml",
    "contents_xml",
    "gone_xml",
    "sample",
]
