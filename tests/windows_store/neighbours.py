"""The files around containers that a restore does not need: names as reported, content made up."""

import struct
from typing import Final

__all__ = ["EXCLUDED", "dedup_neighbours", "store_neighbours"]

EXCLUDED: Final = ("edb", "jrs")
"""File extensions in the policy of ``Settings``."""
_CHANGED: Final = 0x01D7_CED0_0000_0000
_HEAD: Final = '<?xml version="1.0" encoding="utf-8"?>\n'


def store_neighbours() -> dict[str, bytes]:
    """Return the files of a store's folder that are no containers, by relative path."""
    log = b"Signature".ljust(16, b"\0") + struct.pack("<I", 99) + bytes(36)
    return {
        "stamp.dat": bytes(range(28)),
        "COW/00010000/00010000.00000001.cow": bytes(196_608),
        "DedupFileList.1": bytes(4096),
        "DedupFileList.2": bytes(4096),
        "Data/00000001.00000001.delete.log": log,
        "Data/00000001.00000001.merge.log": log,
        "Stream/00010000.00000001.delete.log": log,
    }


def dedup_neighbours(
    excluded: tuple[str, ...] = EXCLUDED, minimum_age: int = 3
) -> dict[str, bytes]:
    """Return the files of the ``Dedup`` folder, by relative path.

    Only the names of two properties are known; how the XML is laid out is a guess.

    Args:
        excluded: File extensions that are not optimized.
        minimum_age: Days before a file is.
    """
    config = (
        f'{_HEAD}<root><properties changeTime="{_CHANGED}" enabled="1" '
        f'minimumFileAge="{minimum_age}" excludeFileExtensions="{";".join(excluded)}"/></root>\n'
    )
    files = {f"Settings/dedupConfig.0{copy}.xml": config for copy in (1, 2)}
    statistics = ("chunkStoreStatistics", "dedupStatistics", "optimizationState")
    files |= {f"State/{name}.xml": f"{_HEAD}<root/>\n" for name in statistics}
    return {name: text.encode() for name, text in files.items()} | {"Logs/dedup.log": b""}
