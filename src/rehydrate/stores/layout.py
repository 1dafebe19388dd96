"""Where things are in the directory of a native store, and what its configuration says.

The configuration is one small JSON object. The file at the root is the one to read first; each
container header carries a copy, so that the file can be rebuilt.
"""

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import attrs

from rehydrate.errors import CorruptMetadataError, StoreError, UnsupportedFormatError
from rehydrate.strict_json import load
from rehydrate.values import MAX_OFFSET, StoreId

__all__ = [
    "CONFIGURATION_NAME",
    "DATA_FOLDER",
    "INDEX_FOLDER",
    "LARGEST_CONFIGURATION",
    "LOCK_NAME",
    "STREAM_FOLDER",
    "VERSIONS_FOLDER",
    "ChunkerSettings",
    "StoreConfiguration",
    "parse_configuration",
    "read_configuration",
]

CONFIGURATION_NAME: Final = "rehydrate-store.json"
DATA_FOLDER: Final = "Data"
STREAM_FOLDER: Final = "Stream"
VERSIONS_FOLDER: Final = "versions"
INDEX_FOLDER: Final = "index"
LOCK_NAME: Final = "lock"

FORMAT_NAME: Final = "rehydrate-store"
FORMAT_VERSION: Final = 1
KNOWN_FEATURES: Final[Mapping[int, str]] = {}
"""Names of the feature bits that this release understands: none are defined yet."""
LARGEST_CONFIGURATION: Final = 64 << 10


@attrs.frozen(kw_only=True)
class ChunkerSettings:
    """How files are cut; a store keeps one way for ever, or nothing old would be found again.

    Attributes:
        name: The algorithm.
        version: Version of its rules.
        seed: Seed of its table.
        min_size: Smallest chunk but the last, bytes.
        avg_size: Nominal size, bytes.
        max_size: Largest chunk, bytes.
        normalisation: Strength of the pull to the nominal size, 0 to 3.
    """

    name: str = "fastcdc-2020"
    version: int = 1
    seed: int = 0
    min_size: int = 32 << 10
    avg_size: int = 64 << 10
    max_size: int = 128 << 10
    normalisation: int = 1


@attrs.frozen(kw_only=True)
class StoreConfiguration:
    """What a store was created with.

    Attributes:
        store: Identity of the store.
        chunker: How files are cut.
        compression: ``"zstd"`` or ``"none"``.
        level: Compression level.
        capacity: Size in bytes from which on a container is sealed.
        compat: Feature bits that anybody may ignore.
        read_compat: Feature bits that a reader may ignore and a writer may not.
        incompat: Feature bits that nobody may ignore.
    """

    store: StoreId
    chunker: ChunkerSettings = ChunkerSettings()
    compression: str = "zstd"
    level: int = 3
    capacity: int = 1 << 30
    compat: int = 0
    read_compat: int = 0
    incompat: int = 0

    def as_mapping(self) -> "dict[str, str | int | dict[str, str | int]]":
        """Return the JSON object."""
        return {
            "format": FORMAT_NAME,
            "version": FORMAT_VERSION,
            "store": str(self.store),
            "features": {
                "compat": self.compat,
                "read-compat": self.read_compat,
                "incompat": self.incompat,
            },
            "chunker": attrs.asdict(self.chunker),
            "compression": {"name": self.compression, "level": self.level},
            "digest": "blake3",
            "capacity": self.capacity,
        }

    def as_json(self) -> bytes:
        """Return the content of the configuration file."""
        return json.dumps(self.as_mapping(), indent=2, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_mapping(cls, found: Mapping[str, object]) -> Self:
        """Read the JSON object.

        Raises:
            CorruptMetadataError: Something is missing or of the wrong type.
            UnsupportedFormatError: A newer format, or a feature that this release does not know.
        """
        if found.get("format") != FORMAT_NAME:
            raise CorruptMetadataError(
                "this is no configuration of a rehydrate store", code="store.configuration"
            )
        if found.get("version") != FORMAT_VERSION:
            raise UnsupportedFormatError(
                f"store format {found.get('version')!r} is newer than this release (it knows "
                f"{FORMAT_VERSION}); use a newer rehydrate",
                code="store.version",
            )
        features = _part(found, "features")
        incompat = _number(features, "incompat")
        _refuse_unknown(incompat, "read")
        chunker, compression = _part(found, "chunker"), _part(found, "compression")
        return cls(
            store=_store_id(found),
            chunker=ChunkerSettings(
                name=_text(chunker, "name"),
                version=_number(chunker, "version"),
                seed=_number(chunker, "seed"),
                min_size=_number(chunker, "min_size"),
                avg_size=_number(chunker, "avg_size"),
                max_size=_number(chunker, "max_size"),
                normalisation=_number(chunker, "normalisation"),
            ),
            compression=_text(compression, "name"),
            level=_number(compression, "level"),
            capacity=_number(found, "capacity"),
            compat=_number(features, "compat"),
            read_compat=_number(features, "read-compat"),
            incompat=incompat,
        )

    def check_writable(self) -> None:
        """Refuse what a writer must not ignore.

        Raises:
            UnsupportedFormatError: A feature bit that this release does not know.
        """
        _refuse_unknown(self.read_compat, "write to")


def _refuse_unknown(bits: int, doing: str) -> None:
    unknown = [bit for bit in range(64) if bits >> bit & 1 and bit not in KNOWN_FEATURES]
    if unknown:
        named = ", ".join(str(bit) for bit in unknown)
        raise UnsupportedFormatError(
            f"feature bit {named} of the store is not known to this release, which cannot {doing} "
            "it; use a newer rehydrate",
            code="store.feature",
        )


def _wrong(name: str) -> CorruptMetadataError:
    return CorruptMetadataError(
        f"the store configuration has no valid {name!r}; `rehydrate rebuild` makes it again",
        code="store.configuration",
    )


def _part(found: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = found.get(name)
    if not isinstance(value, dict):
        raise _wrong(name)
    return value


def _number(found: Mapping[str, object], name: str) -> int:
    value = found.get(name)
    if type(value) is not int or not 0 <= value <= MAX_OFFSET:
        raise _wrong(name)
    return value


def _text(found: Mapping[str, object], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise _wrong(name)
    return value


def _store_id(found: Mapping[str, object]) -> StoreId:
    try:
        return uuid.UUID(_text(found, "store"))
    except ValueError as error:
        raise _wrong("store") from error


def read_configuration(path: str | os.PathLike[str]) -> StoreConfiguration:
    """Read the configuration of the store in a directory.

    Args:
        path: The directory of the store.

    Raises:
        StoreError: There is no such directory, or it is no rehydrate store.
        FormatError: The configuration is damaged, or of a newer release.
    """
    root = Path(path)
    try:
        with (root / CONFIGURATION_NAME).open("rb") as stream:
            text = stream.read(LARGEST_CONFIGURATION)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _no_store(root) from error
    except OSError as error:
        raise StoreError(
            f"cannot read {root / CONFIGURATION_NAME}: {error.strerror}", code="store.unreadable"
        ) from error
    return parse_configuration(text, os.fspath(path))


def parse_configuration(text: bytes, name: str) -> StoreConfiguration:
    """Parse the configuration of a store.

    Args:
        text: What its file holds.
        name: The store, as people call it.

    Raises:
        FormatError: It is damaged, or of a newer release.
    """

    def damaged(how: str) -> CorruptMetadataError:
        return CorruptMetadataError(
            f"{name.rstrip('/')}/{CONFIGURATION_NAME} is damaged, it {how};"
            f" `rehydrate rebuild {name}` makes it again",
            code="store.configuration",
        )

    found = load(text, damaged)
    if not isinstance(found, dict):
        raise _wrong("object")
    return StoreConfiguration.from_mapping(found)


def _no_store(root: Path) -> StoreError:
    if not root.exists():
        why, remedy = "does not exist", f"`rehydrate optimize SOURCE {root}` creates a store"
    elif not root.is_dir():
        why, remedy = "is no directory", "name the directory of a store"
    elif (root / DATA_FOLDER).is_dir() or (root / STREAM_FOLDER).is_dir():
        why = f"has containers and no {CONFIGURATION_NAME}"
        remedy = f"`rehydrate rebuild {root}` makes it again"
    else:
        why, remedy = "is no rehydrate store", f"it has no {CONFIGURATION_NAME}"
    return StoreError(f"{root} {why}: {remedy}", code="store.unknown")
