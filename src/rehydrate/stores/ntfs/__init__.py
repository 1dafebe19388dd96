"""NTFS volumes inside images: the tree, what a stub holds itself, and the chunk stores."""

from rehydrate.stores.ntfs.volume import NtfsVolume

__all__ = ["NtfsVolume"]
