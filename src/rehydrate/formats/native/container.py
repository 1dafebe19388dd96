"""Containers: the header page, commit records, and the walk from record to record."""

import json
import uuid
from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs
from blake3 import blake3

from rehydrate.errors import CorruptMetadataError, LimitError, UnsupportedFormatError
from rehydrate.formats.native.layout import (
    ALIGNMENT,
    COMMIT,
    CONTAINER_HEADER,
    CONTAINER_MAGIC,
    DATA_CONTAINER,
    FLAG_SEALED,
    FORMAT_VERSION,
    HEADER_DIGEST_AT,
    HEADER_SIZE,
    KIND_COMMIT,
    PAGE,
    RECORD_SIZE,
    STREAM_CONTAINER,
    TOMBSTONE_MAGIC,
    align,
    crc64,
)
from rehydrate.formats.native.record import NO_DIGEST, Place, RecordHeader, encode_record
from rehydrate.formats.walk import DATA, STREAM
from rehydrate.strict_json import load
from rehydrate.values import MAX_OFFSET, ReadableBuffer, StoreId, StorePath

__all__ = [
    "Commit",
    "Configuration",
    "ContainerHeader",
    "container_name",
    "container_path",
    "encode_commit",
    "encode_header",
    "load_json",
    "parse_commit",
    "parse_container_header",
    "parse_container_name",
]

KNOWN_INCOMPAT: Final = 0
"""Feature bits that a reader of this release understands: none are defined yet."""
EXTENSION: Final = ".rhc"

Configuration: TypeAlias = Mapping[str, "str | int | bool | Configuration"]
"""Configuration of a store: JSON of strings, numbers, booleans and objects."""

_DEEPEST_CONFIGURATION: Final = 4
_MOST_DIGITS: Final = 20
_KINDS: Final = {DATA: DATA_CONTAINER, STREAM: STREAM_CONTAINER}


@attrs.frozen(kw_only=True)
class ContainerHeader:
    """The header page of a container.

    Attributes:
        kind: ``DATA`` or ``STREAM``.
        store: Identity of the store.
        container: Container id, from 1, unique in the store over both kinds.
        generation: Generation, from 1.
        salt: 16 random bytes that tie records to this container.
        compat: Feature bits that any reader and writer may ignore.
        read_compat: Feature bits that a reader may ignore and a writer may not.
        incompat: Feature bits that nobody may ignore.
        created_ns: Nanoseconds since 1970.
        capacity: Size in bytes from which on the container is sealed.
        configuration: Copy of the store's configuration.
        tombstone: Whether the file only redirects to a newer generation.
    """

    kind: str
    store: StoreId
    container: int
    generation: int
    salt: bytes
    compat: int = 0
    read_compat: int = 0
    incompat: int = 0
    created_ns: int
    capacity: int
    configuration: Configuration
    tombstone: bool = False

    def place(self, offset: int) -> Place:
        """Return the place of a record at ``offset`` of this container."""
        return Place(self.salt, self.container, self.generation, offset)


def container_name(container: int, generation: int) -> str:
    """Return the file name of a container: both numbers in eight hexadecimal digits."""
    return f"{container:08x}.{generation:08x}{EXTENSION}"


def container_path(kind: str, container: int, generation: int) -> StorePath:
    """Return the store path of a container: its kind is its folder."""
    return StorePath(f"{kind}/{container:08x}.{generation:08x}{EXTENSION}")


def parse_container_name(name: str) -> tuple[int, int] | None:
    """Return ``(container, generation)`` of a file name, or None if it names no container."""
    if len(name) != 17 + len(EXTENSION) or not name.endswith(EXTENSION) or name[8] != ".":
        return None
    digits = name[:8] + name[9:17]
    if not all(digit in "0123456789abcdef" for digit in digits):
        return None
    return int(name[:8], 16), int(name[9:17], 16)


def encode_header(header: ContainerHeader) -> bytes:
    """Return the header page, :data:`HEADER_SIZE` bytes.

    Raises:
        LimitError: The configuration does not fit.
        CorruptMetadataError: It holds what a reader would refuse.
    """
    text = json.dumps(dict(header.configuration), sort_keys=True, separators=(",", ":")).encode()
    _parse_configuration(text)
    fixed = CONTAINER_HEADER.pack(
        TOMBSTONE_MAGIC if header.tombstone else CONTAINER_MAGIC,
        FORMAT_VERSION,
        _KINDS[header.kind],
        HEADER_SIZE,
        header.store.bytes,
        header.container,
        header.generation,
        header.salt,
        header.compat,
        header.read_compat,
        header.incompat,
        header.created_ns,
        header.capacity,
        len(text),
        0,
    )
    if len(fixed) + len(text) > HEADER_DIGEST_AT:
        raise LimitError("the configuration of the store does not fit a container header")
    page = (fixed + text).ljust(HEADER_DIGEST_AT, b"\0")
    return page + blake3(page).digest()


def parse_container_header(data: ReadableBuffer) -> ContainerHeader:
    """Read a header page.

    Args:
        data: The first :data:`HEADER_SIZE` bytes of the file.

    Raises:
        CorruptMetadataError: This is no container, or the page is damaged.
        UnsupportedFormatError: A newer version, or a feature bit that this release does not know.
    """
    page = bytes(memoryview(data)[:HEADER_SIZE])
    if len(page) < HEADER_SIZE:
        raise CorruptMetadataError("a container header is cut short", code="container.truncated")
    (magic, version, kind, size, store, container, generation, salt, compat, read_compat, incompat,
     created, capacity, config_size, reserved) = CONTAINER_HEADER.unpack_from(page)  # fmt: skip
    if magic not in (CONTAINER_MAGIC, TOMBSTONE_MAGIC):
        raise CorruptMetadataError("this is no container", code="container.magic")
    if version != FORMAT_VERSION:
        raise UnsupportedFormatError(f"container format {version} is newer than this release")
    if blake3(page[:HEADER_DIGEST_AT]).digest() != page[HEADER_DIGEST_AT:]:
        raise CorruptMetadataError("a container header is damaged", code="container.digest")
    _refuse_unknown_features(incompat)
    text_end = CONTAINER_HEADER.size + config_size
    kinds = {number: name for name, number in _KINDS.items()}
    if (
        size != HEADER_SIZE
        or kind not in kinds
        or text_end > HEADER_DIGEST_AT
        or reserved
        or any(page[text_end:HEADER_DIGEST_AT])
        or not container
        or not generation
        or capacity > MAX_OFFSET
    ):
        raise CorruptMetadataError("a container header contradicts itself", code="container.fields")
    return ContainerHeader(
        kind=kinds[kind],
        store=uuid.UUID(bytes=store),
        container=container,
        generation=generation,
        salt=salt,
        compat=compat,
        read_compat=read_compat,
        incompat=incompat,
        created_ns=created,
        capacity=capacity,
        configuration=_parse_configuration(page[CONTAINER_HEADER.size : text_end]),
        tombstone=magic == TOMBSTONE_MAGIC,
    )


def _refuse_unknown_features(incompat: int) -> None:
    unknown = incompat & ~KNOWN_INCOMPAT
    if unknown:
        bits = ", ".join(str(bit) for bit in range(64) if unknown >> bit & 1)
        raise UnsupportedFormatError(
            f"the store needs feature bit {bits}, which this release does not know"
        )


def _parse_configuration(text: bytes) -> Configuration:
    found = load_json(text, "store configuration")
    if not isinstance(found, dict):
        raise CorruptMetadataError("a store configuration is no object", code="json.type")
    _check_settings(found, _DEEPEST_CONFIGURATION)
    return found


def _check_settings(settings: Mapping[str, object], depth: int) -> None:
    for name, value in settings.items():
        if not isinstance(value, str | int | dict) or not depth:
            raise CorruptMetadataError(
                "a store configuration holds more than text, numbers and objects", code="json.type"
            )
        _check_text(name)
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, dict):
            _check_settings(value, depth - 1)
        elif abs(value) > MAX_OFFSET:
            raise CorruptMetadataError("a setting of a store is too large", code="json.number")


def _check_text(text: str) -> None:
    """Refuse half of a surrogate pair: it could be written nowhere as UTF-8."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise CorruptMetadataError("a store configuration holds no valid text", code="json.text")


def load_json(text: bytes, what: str) -> object:
    """Read JSON as this format allows it: UTF-8, whole numbers, no name twice in an object.

    Args:
        text: The bytes.
        what: What it is, for the message.

    Raises:
        CorruptMetadataError: It is no such JSON.
    """

    def wrong(problem: str) -> CorruptMetadataError:
        return CorruptMetadataError(f"a {what} {problem}", code="json.syntax")

    try:
        decoded = text.decode()
    except ValueError as error:
        raise wrong("is no JSON") from error
    return load(decoded, wrong, parse_int=_whole_number, parse_float=_whole_number)


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError("a number is too long")
    return int(digits)


@attrs.frozen(kw_only=True)
class Commit:
    """What a commit record says: everything before its end is valid.

    Attributes:
        store: Identity of the store.
        container: Container id.
        generation: Generation of the container.
        sequence: Number of the commit in its container, from 1.
        valid_length: Bytes of the container up to the end of this commit record.
        records: Records in the container up to here, commits apart.
        previous: Offset of the commit record before, or 0.
        digest: BLAKE3 over the headers of all records since then.
        sealed: The container is never written again.
    """

    store: StoreId
    container: int
    generation: int
    sequence: int
    valid_length: int
    records: int
    previous: int
    digest: bytes
    sealed: bool = False


def encode_commit(place: Place, commit: Commit) -> bytes:
    """Return the whole commit record; it ends on a page border.

    Args:
        place: Where it will stand (8-aligned).
        commit: What it says; ``valid_length`` is filled in here.
    """
    end = align(place.offset + RECORD_SIZE + COMMIT.size, PAGE)
    fixed = COMMIT.pack(
        commit.store.bytes,
        commit.container,
        commit.generation,
        commit.sequence,
        end,
        commit.records,
        commit.previous,
        commit.digest,
    )
    payload = fixed.ljust(end - place.offset - RECORD_SIZE, b"\0")
    flags = FLAG_SEALED if commit.sealed else 0
    header = encode_record(
        place,
        KIND_COMMIT,
        0,
        payload,
        logical_size=len(payload),
        digest=NO_DIGEST,
        flags=flags,
    )
    return header + payload


def parse_commit(header: RecordHeader, payload: ReadableBuffer, offset: int) -> Commit:
    """Read the payload of a commit record whose header was checked.

    Raises:
        CorruptMetadataError: It is damaged or stands in the wrong place.
    """
    data = bytes(payload)
    if crc64(data) != header.payload_crc:
        raise CorruptMetadataError("a commit record is damaged", code="commit.crc")
    if len(data) < COMMIT.size or any(data[COMMIT.size :]):
        raise CorruptMetadataError("a commit record has a wrong size", code="commit.size")
    store, container, generation, sequence, end, records, previous, digest = COMMIT.unpack_from(
        data
    )
    if (
        end != offset + header.length
        or end % PAGE
        or previous >= offset
        or (previous and (previous < HEADER_SIZE or previous % ALIGNMENT))
        or (sequence == 1) != (previous == 0)
        or not container * generation * sequence
        or records > end // RECORD_SIZE
    ):
        raise CorruptMetadataError("a commit record stands in the wrong place", code="commit.place")
    return Commit(
        store=uuid.UUID(bytes=store),
        container=container,
        generation=generation,
        sequence=sequence,
        valid_length=end,
        records=records,
        previous=previous,
        digest=digest,
        sealed=bool(header.flags & FLAG_SEALED),
    )
