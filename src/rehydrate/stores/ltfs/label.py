"""The labels of an LTFS volume: who it is, its partitions and the size of its blocks.

Each partition begins with a VOL1 label (80 bytes), a filemark, the LTFS label as XML, and a
filemark. Facts: LTFS format specification 2.4, and the two sample volumes.
"""

import re
import uuid
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, UnsupportedFormatError
from rehydrate.stores.ltfs.xml import VERSION, TextTree, read_tree

__all__ = ["LARGEST_LABEL", "NEWEST", "LtfsLabel", "parse_label", "parse_version", "parse_vol1"]

LARGEST_LABEL: Final = 1 << 20
_VOL1_BYTES: Final = 80
_SMALLEST_BLOCK, _LARGEST_BLOCK = 512, (1 << 24) - 1
NEWEST: Final = (2, 5)
"""The newest format that is known."""
_COMPRESSED: Final = {"true": True, "false": False}
_NUMBER: Final = re.compile("[0-9]{1,9}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@attrs.frozen
class LtfsLabel:
    """What both labels of a volume say.

    Attributes:
        volume_uuid: Identity of the volume, made when it was formatted.
        partition: Letter of the partition that this label is on.
        index_partition: Letter of the partition that holds the newest index.
        data_partition: Letter of the other one.
        block_size: Largest record in bytes.
        creator: Program that formatted the volume.
        compressed: Whether drives were told to compress what is written; ``None`` = not said.
    """

    volume_uuid: uuid.UUID
    partition: str
    index_partition: str
    data_partition: str
    block_size: int
    creator: str = ""
    compressed: bool | None = None

    @property
    def letters(self) -> tuple[str, str]:
        """Both partitions."""
        return self.index_partition, self.data_partition


def parse_label(raw: bytes) -> LtfsLabel:
    """Read the XML of a label.

    Args:
        raw: The whole document.

    Raises:
        CorruptMetadataError: With code ``"ltfs.label"`` if it is no label or contradicts itself.
        UnsupportedFormatError: With code ``"ltfs.version"`` if its format is newer than 2.5.
        LimitError: With code ``"ltfs.limit"`` if it is larger than any label.
    """
    tree = read_tree(raw, "ltfslabel", limit=LARGEST_LABEL, code="ltfs.label")
    if parse_version(_text(tree, VERSION), "ltfs.label") > NEWEST:
        raise UnsupportedFormatError(
            f"the LTFS label has format {tree[VERSION][:40]}; known are those up to 2.5",
            code="ltfs.version",
        )
    letters = (_letter(tree, "partitions/index"), _letter(tree, "partitions/data"))
    here = _letter(tree, "location/partition")
    if letters[0] == letters[1] or here not in letters:
        raise _wrong("names its partitions in contradiction")
    size = _text(tree, "blocksize")
    if not re.fullmatch("[0-9]{1,9}", size):
        raise _wrong("has no valid block size")
    if not _SMALLEST_BLOCK <= int(size) <= _LARGEST_BLOCK:
        raise _wrong("has a block size that no drive can read")
    return LtfsLabel(
        volume_uuid=parse_uuid(_text(tree, "volumeuuid"), "ltfs.label"),
        partition=here,
        index_partition=letters[0],
        data_partition=letters[1],
        block_size=int(size),
        creator=tree.get("creator", ""),
        compressed=_COMPRESSED.get(tree.get("compression", "").lower()),
    )


def parse_version(text: str, code: str) -> tuple[int, int]:
    """Read the version of a format, such as ``"2.4.0"``; the last number does not count.

    Args:
        text: The text.
        code: Code of the error.

    Raises:
        CorruptMetadataError: It is none.
    """
    parts = text.strip().split(".")
    if len(parts) not in {2, 3} or not all(_NUMBER.fullmatch(part) for part in parts):
        raise CorruptMetadataError("the LTFS document has no version", code=code)
    return int(parts[0]), int(parts[1])


def parse_uuid(text: str, code: str) -> uuid.UUID:
    """Read an identity in its usual form.

    Args:
        text: The text.
        code: Code of the error.

    Raises:
        CorruptMetadataError: It is none.
    """
    if not _UUID.fullmatch(text):
        raise CorruptMetadataError("the identity of the LTFS volume is none", code=code)
    return uuid.UUID(text)


def parse_vol1(raw: bytes) -> str:
    """Return the barcode of a VOL1 label, without blanks; may be empty.

    Args:
        raw: The record.

    Raises:
        CorruptMetadataError: With code ``"ltfs.label"`` if the tape is no LTFS volume.
    """
    if len(raw) != _VOL1_BYTES or raw[:4] != b"VOL1" or raw[24:28] != b"LTFS":
        raise CorruptMetadataError("the tape has no label of an LTFS volume", code="ltfs.label")
    return raw[4:10].decode("ascii", "replace").strip()


def _text(tree: TextTree, path: str) -> str:
    found = tree.get(path)
    if found is None:
        raise _wrong(f"has no {path}")
    return found


def _letter(tree: TextTree, path: str) -> str:
    found = _text(tree, path)
    if len(found) != 1 or not "a" <= found <= "z":
        raise _wrong(f"has no letter as {path}")
    return found


def _wrong(problem: str) -> CorruptMetadataError:
    return CorruptMetadataError(f"the LTFS label {problem}", code="ltfs.label")
