"""Volumes of Windows beyond images: folder copies, and the backup streams of the Win32 interface.

This is the public face of these; the rooms behind it may change. Images are opened by
:func:`rehydrate.open_volumes`.
"""

from rehydrate.stores.backup_stream import (
    CONTAINS_SECURITY,
    EA_DATA,
    REPARSE_DATA,
    SECURITY_DATA,
    BackupStreamWriter,
    ByteReader,
)
from rehydrate.stores.backup_streams_folder import BackedUpStore, BackupStreamFolder
from rehydrate.stores.chunk_folder import ChunkFolder
from rehydrate.stores.folder_copy import FolderCopy
from rehydrate.values import DEDUP_TAG

__all__ = [
    "CONTAINS_SECURITY",
    "DEDUP_TAG",
    "EA_DATA",
    "REPARSE_DATA",
    "SECURITY_DATA",
    "BackedUpStore",
    "BackupStreamFolder",
    "BackupStreamWriter",
    "ByteReader",
    "ChunkFolder",
    "FolderCopy",
]
