"""Segments and manifests: how a version of a store lists its entries."""

import itertools
import json
import re
from collections.abc import Sequence
from typing import Final, TypedDict

import attrs
import numpy as np
from blake3 import blake3

from rehydrate.chunks import ROW_DTYPE, Ints, Rows
from rehydrate.errors import CorruptMetadataError, LimitError, UnsupportedFormatError
from rehydrate.formats.native.container import load_json
from rehydrate.formats.native.layout import (
    FORMAT_VERSION,
    HEADER_SIZE,
    MANIFEST,
    MANIFEST_MAGIC,
    MANIFEST_PARTIAL,
    MAX_ENTRY_SEGMENT,
    MAX_MANIFEST,
    MAX_PATH,
    MAX_SEGMENT,
    RECORD_SIZE,
    SEGMENT,
    SEGMENT_MAGIC,
)
from rehydrate.formats.walk import DATA, STREAM
from rehydrate.values import MAX_OFFSET

__all__ = [
    "ContainerState",
    "Manifest",
    "SegmentColumns",
    "decode_manifest",
    "decode_segment",
    "encode_manifest",
    "encode_segment",
    "is_entry_path",
    "manifest_name",
    "seal_manifest",
    "segment_columns",
    "tree_key",
    "unseal_manifest",
]

_OFFSET: Final = np.dtype("<u4")
_DIGEST_SIZE: Final = 32
ROW: Final = ROW_DTYPE.itemsize
_HEX_DIGEST: Final = re.compile("[0-9a-f]{64}")
_ENTRY_PATH: Final = re.compile(rb"(?!\.{1,2}(?:/|\Z))[^/\0]+(?:/(?!\.{1,2}(?:/|\Z))[^/\0]+)*")


def tree_key(path: bytes) -> bytes:
    """Return the sort key of a path: parents come first and a directory's content is together."""
    return path.replace(b"/", b"\0")


def is_entry_path(path: bytes) -> bool:
    """Tell whether a path can be that of an entry: relative, without empty or dotted parts."""
    return len(path) <= MAX_PATH and _ENTRY_PATH.fullmatch(path) is not None


def encode_segment(paths: Sequence[bytes], stubs: Sequence[bytes]) -> bytes:
    """Return the payload of a segment record.

    Args:
        paths: Entry paths in tree order.
        stubs: Their stubs.

    Raises:
        LimitError: A reader would refuse it: too many bytes, or a path that is none.
    """
    if not paths or not all(map(is_entry_path, paths)):
        raise LimitError("a catalogue segment needs entries with relative paths")
    path_bytes, stub_bytes = b"".join(paths), b"".join(stubs)
    head = SEGMENT.pack(
        SEGMENT_MAGIC, FORMAT_VERSION, 0, len(paths), len(path_bytes), len(stub_bytes)
    )
    encoded = head + _encode_ends(paths) + _encode_ends(stubs) + path_bytes + stub_bytes
    if len(encoded) > (MAX_SEGMENT if len(paths) > 1 else MAX_ENTRY_SEGMENT):
        raise LimitError(f"a catalogue segment of {len(encoded)} bytes is too large")
    return encoded


def _encode_ends(parts: Sequence[bytes]) -> bytes:
    return np.cumsum([len(part) for part in parts], dtype=np.uint32).astype(_OFFSET).tobytes()


@attrs.frozen(eq=False)
class SegmentColumns:
    """Where the paths and stubs of a segment are in its payload.

    Attributes:
        payload: The segment.
        path_ends: End of each path behind ``paths_at``.
        stub_ends: End of each stub behind ``stubs_at``.
        paths_at: Offset of the path column.
        stubs_at: Offset of the stub column.
    """

    payload: bytes
    path_ends: Ints
    stub_ends: Ints
    paths_at: int
    stubs_at: int

    def paths(self) -> list[bytes]:
        """Return the paths; neither they nor their order are checked."""
        return _cut(self.payload, self.paths_at, self.path_ends)

    def stubs(self) -> list[bytes]:
        """Return the stubs."""
        return _cut(self.payload, self.stubs_at, self.stub_ends)


def segment_columns(payload: bytes) -> SegmentColumns:
    """Find the columns of a segment without looking at single paths.

    Raises:
        CorruptMetadataError: The segment contradicts itself.
        UnsupportedFormatError: It is of a newer version.
    """
    if len(payload) < SEGMENT.size or payload[:4] != SEGMENT_MAGIC:
        raise CorruptMetadataError("this is no catalogue segment", code="segment.magic")
    _, version, reserved, count, path_size, stub_size = SEGMENT.unpack_from(payload)
    if version != FORMAT_VERSION:
        raise UnsupportedFormatError(f"catalogue segment format {version} is not known")
    columns_at = SEGMENT.size + 8 * count
    if (
        reserved
        or not count
        or columns_at + path_size + stub_size != len(payload)
        or len(payload) > (MAX_SEGMENT if count > 1 else MAX_ENTRY_SEGMENT)
    ):
        raise CorruptMetadataError("a catalogue segment has a wrong size", code="segment.size")
    path_ends = _decode_ends(payload, SEGMENT.size, count, path_size)
    stub_ends = _decode_ends(payload, SEGMENT.size + 4 * count, count, stub_size)
    return SegmentColumns(payload, path_ends, stub_ends, columns_at, columns_at + path_size)


def decode_segment(payload: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the paths and the stubs of a segment.

    Raises:
        CorruptMetadataError: The segment contradicts itself or its paths are out of order.
        UnsupportedFormatError: It is of a newer version.
    """
    columns = segment_columns(payload)
    paths = columns.paths()
    _check_paths(paths, "segment")
    return paths, columns.stubs()


def _check_paths(paths: Sequence[bytes], where: str) -> None:
    if not all(map(is_entry_path, paths)):
        raise CorruptMetadataError(f"a path of a {where} is none", code=f"{where}.path")
    keys = [tree_key(path) for path in paths]
    if any(not first < second for first, second in itertools.pairwise(keys)):
        raise CorruptMetadataError(
            f"the paths of a {where} are out of order", code=f"{where}.order"
        )


def _decode_ends(payload: bytes, at: int, count: int, size: int) -> Ints:
    ends = np.frombuffer(payload, _OFFSET, count, at).astype(np.int64)
    last = int(ends[-1]) if count else 0
    if last != size or np.any(np.diff(ends) < 0):
        raise CorruptMetadataError("a column of a segment is damaged", code="segment.column")
    return ends


def _cut(payload: bytes, at: int, ends: Ints) -> list[bytes]:
    cuts = [at, *(ends + at).tolist()]
    return [payload[start:end] for start, end in itertools.pairwise(cuts)]


@attrs.frozen(kw_only=True)
class ContainerState:
    """How far a container was written when a version was published.

    Attributes:
        kind: ``DATA`` or ``STREAM``.
        container: Container id.
        generation: Generation.
        valid_length: Bytes up to the end of the last commit.
        sequence: Number of that commit.
        digest: Digest that the commit carries, as hexadecimal text.
    """

    kind: str
    container: int
    generation: int
    valid_length: int
    sequence: int
    digest: str


@attrs.frozen(kw_only=True, eq=False)
class Manifest:
    """One version of a store.

    Attributes:
        version: Number of the version, from 1.
        created_ns: Start of the run, nanoseconds since 1970.
        parent: The version before, or None.
        source: What was backed up.
        entries: Number of entries.
        files: Number of regular files among them.
        logical_bytes: Sum of the sizes of files, hard links counted once.
        new_bytes: Bytes that this run added to data containers.
        partial: The run has not ended (yet).
        containers: State of all containers when it was made.
        segments: Where the segments are (:data:`~rehydrate.chunks.ROW_DTYPE`); ``end`` = entries
            up to and including the segment.
        first_paths: First path of each segment, in tree order.
    """

    version: int
    created_ns: int
    parent: int | None
    source: bytes
    entries: int
    files: int
    logical_bytes: int
    new_bytes: int
    partial: bool
    containers: tuple[ContainerState, ...]
    segments: Rows
    first_paths: tuple[bytes, ...]


class _Described(TypedDict):
    version: int
    created_ns: int
    parent: int | None
    source: bytes
    entries: int
    files: int
    logical_bytes: int
    new_bytes: int
    containers: tuple[ContainerState, ...]


_NUMBERS: Final = ("version", "created_ns", "entries", "files", "logical_bytes", "new_bytes")


def manifest_name(version: int) -> str:
    """Return the file name of a version's manifest."""
    return f"{version:08d}.rhm"


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the payload of a manifest record.

    Raises:
        LimitError: A number does not fit.
    """
    described = {name: getattr(manifest, name) for name in _NUMBERS}
    described["parent"] = manifest.parent
    described["source"] = manifest.source.decode("utf-8", "surrogateescape")
    described["containers"] = [list(attrs.astuple(state)) for state in manifest.containers]
    text = json.dumps(described, sort_keys=True, separators=(",", ":")).encode()
    paths = b"".join(manifest.first_paths)
    count = len(manifest.first_paths)
    if len(manifest.segments) != count:
        raise LimitError("a manifest needs one first path for each segment")
    if len(text) + len(paths) + (ROW + 4) * count > MAX_MANIFEST - MANIFEST.size:
        raise LimitError("a manifest is too large")
    head = MANIFEST.pack(
        MANIFEST_MAGIC,
        FORMAT_VERSION,
        MANIFEST_PARTIAL if manifest.partial else 0,
        len(text),
        count,
        len(paths),
        0,
    )
    return head + text + manifest.segments.tobytes() + _encode_ends(manifest.first_paths) + paths


def decode_manifest(payload: bytes) -> Manifest:
    """Read the payload of a manifest record or file.

    Raises:
        CorruptMetadataError: It contradicts itself.
        UnsupportedFormatError: It is of a newer version.
    """
    if len(payload) < MANIFEST.size or payload[:4] != MANIFEST_MAGIC:
        raise CorruptMetadataError("this is no manifest", code="manifest.magic")
    _, version, flags, text_size, count, path_size, reserved = MANIFEST.unpack_from(payload)
    if version != FORMAT_VERSION:
        raise UnsupportedFormatError(f"manifest format {version} is not known to this release")
    rows_at = MANIFEST.size + text_size
    ends_at = rows_at + ROW * count
    paths_at = ends_at + _OFFSET.itemsize * count
    if (
        reserved
        or flags & ~MANIFEST_PARTIAL
        or paths_at + path_size != len(payload)
        or len(payload) > MAX_MANIFEST
    ):
        raise CorruptMetadataError("a manifest has a wrong size", code="manifest.size")
    ends = _decode_ends(payload, ends_at, count, path_size)
    segments = np.frombuffer(payload, ROW_DTYPE, count, rows_at)
    described = _parse_description(payload[MANIFEST.size : rows_at])
    _check_segments(segments, described["entries"])
    first_paths = tuple(_cut(payload, paths_at, ends))
    _check_paths(first_paths, "manifest")
    return Manifest(
        **described,
        partial=bool(flags & MANIFEST_PARTIAL),
        segments=segments,
        first_paths=first_paths,
    )


def _check_segments(rows: Rows, entries: int) -> None:
    """Check where the segments of a version are; ``end`` counts entries."""
    ends = rows["end"]
    last = int(ends[-1]) if len(rows) else 0
    sizes = rows["length"].astype(np.int64) - RECORD_SIZE
    if (
        last != entries
        # Unsigned numbers are compared, as their differences would wrap.
        or np.any(ends[1:] <= ends[:-1])
        or np.any(ends[:1] == 0)
        or np.any(rows["container"] == 0)
        or np.any(rows["generation"] == 0)
        or np.any(rows["local_id"] == 0)
        or np.any(rows["offset"] > MAX_OFFSET - (MAX_ENTRY_SEGMENT + RECORD_SIZE))
        or np.any((sizes <= 0) | (sizes > MAX_ENTRY_SEGMENT))
    ):
        raise CorruptMetadataError("the segments of a manifest do not add up", code="manifest.rows")


def _parse_description(text: bytes) -> _Described:
    wrong = CorruptMetadataError("the description of a manifest is wrong", code="manifest.json")
    found = load_json(text, "manifest")
    if not isinstance(found, dict) or set(found) != {*_NUMBERS, "parent", "source", "containers"}:
        raise wrong
    parent, source, containers = found["parent"], found["source"], found["containers"]
    if not isinstance(source, str) or not isinstance(containers, list):
        raise wrong
    for number in [*(found[name] for name in _NUMBERS), *([] if parent is None else [parent])]:
        if type(number) is not int or not 0 <= number <= MAX_OFFSET:
            raise wrong
    if not found["version"] > 0 or (parent is not None and not 0 < parent < found["version"]):
        raise wrong
    try:
        path = source.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise wrong from error
    states = tuple(_parse_state(state, wrong) for state in containers)
    if len({(state.kind, state.container, state.generation) for state in states}) != len(states):
        raise wrong
    return _Described(
        version=found["version"],
        created_ns=found["created_ns"],
        parent=parent,
        source=path,
        entries=found["entries"],
        files=found["files"],
        logical_bytes=found["logical_bytes"],
        new_bytes=found["new_bytes"],
        containers=states,
    )


def _parse_state(state: object, wrong: CorruptMetadataError) -> ContainerState:
    shape = (str, int, int, int, int, str)
    if not isinstance(state, list) or [type(part) for part in state] != list(shape):
        raise wrong
    kind, container, generation, valid_length, sequence, digest = state
    if kind not in (DATA, STREAM) or not 0 <= sequence < 1 << 63 or valid_length > MAX_OFFSET:
        raise wrong
    if not 0 < container < 1 << 32 or not 0 < generation < 1 << 32:
        raise wrong
    if valid_length < HEADER_SIZE or _HEX_DIGEST.fullmatch(digest) is None:
        raise wrong
    return ContainerState(
        kind=kind,
        container=container,
        generation=generation,
        valid_length=valid_length,
        sequence=sequence,
        digest=digest,
    )


def seal_manifest(payload: bytes) -> bytes:
    """Return the content of a manifest file: the payload and its BLAKE3."""
    return payload + blake3(payload).digest()


def unseal_manifest(data: bytes) -> bytes:
    """Return the payload of a manifest file.

    Raises:
        CorruptMetadataError: The file is damaged.
    """
    payload = data[:-_DIGEST_SIZE]
    if blake3(payload).digest() != data[-_DIGEST_SIZE:]:
        raise CorruptMetadataError("a manifest file is damaged", code="manifest.digest")
    return payload
