"""Metadata as files beside the restored one: a description to read, and one file for each stream."""

import base64
import json
import re
from typing import Final

from rehydrate.catalogue.windows_metadata.attributes import (
    attribute_names,
    ordinary_attributes,
    utc_text,
)
from rehydrate.catalogue.windows_metadata.carried import Carried
from rehydrate.catalogue.windows_metadata.descriptor import decode_descriptor
from rehydrate.catalogue.windows_metadata.extended import decode_extended
from rehydrate.catalogue.windows_metadata.sddl import sddl
from rehydrate.errors import FormatError
from rehydrate.stores.volume import VolumeEntry

__all__ = ["DESCRIPTION", "MAX_STREAM_BYTES", "STREAM", "keep_sidecar"]

DESCRIPTION: Final = b".ntfs.json"
"""What is added to the name of an entry for its description."""
STREAM: Final = b".ntfs-stream."
"""What is added for a stream, before the stream's own name."""
MAX_STREAM_BYTES: Final = 64 << 20
"""Most bytes of all streams of one entry; they are held in memory."""

_FORMAT: Final = "rehydrate-ntfs-metadata"
_VERSION: Final = 1
_MAX_COMPONENT: Final = 255
_UNFIT: Final = re.compile(rb"[\x00-\x1f%/\x7f]")

type_of_json = dict[str, object]


def keep_sidecar(carried: Carried) -> None:
    """Keep everything in files beside the entry, as far as their names fit.

    Args:
        carried: The entry, and where to put what is kept.
    """
    entry = carried.entry
    description: type_of_json = {
        "format": _FORMAT,
        "version": _VERSION,
        "name": _base(entry).decode("utf-8", "surrogatepass"),
        "directory": entry.directory,
        "size": entry.size,
        "times": _times(entry),
        "attributes": _attributes(entry),
        "owner": entry.owner,
        "security": _security(carried),
        "extended_attributes": _extended(carried),
        "streams": _streams(carried),
    }
    text = json.dumps(description, ensure_ascii=False, indent=2) + "\n"
    # An unpaired surrogate becomes \udxxx, which is how JSON spells it.
    carried.sidecars.insert(0, (DESCRIPTION, text.encode("utf-8", "backslashreplace")))


def fits(entry: VolumeEntry, suffix: bytes = DESCRIPTION) -> bool:
    """Return whether the name of an entry stays valid when something is added to it.

    Args:
        entry: The entry.
        suffix: What is added.
    """
    return len(_base(entry)) + len(suffix) <= _MAX_COMPONENT


def _base(entry: VolumeEntry) -> bytes:
    return entry.path.rpartition(b"/")[2]


def _times(entry: VolumeEntry) -> type_of_json:
    times = {
        "created": entry.created,
        "modified": entry.modified,
        "accessed": entry.accessed,
        "changed": entry.changed,
    }
    return {
        name: {"utc": utc_text(time), "filetime": time} if time else None
        for name, time in times.items()
    }


def _attributes(entry: VolumeEntry) -> type_of_json | None:
    if not entry.attributes:
        return None
    ordinary = ordinary_attributes(entry)
    return {
        "set": list(attribute_names(ordinary)),
        "set_hex": f"0x{ordinary:08X}",
        "on_volume_hex": f"0x{entry.attributes:08X}",
    }


def _security(carried: Carried) -> type_of_json | None:
    raw = carried.security()
    if raw is None:
        return None
    found: type_of_json = {"sddl": None, "descriptor_base64": _base64(raw)}
    try:
        found["sddl"] = sddl(decode_descriptor(raw))
    except FormatError as error:
        found["problem"] = error.message
    return found


def _extended(carried: Carried) -> type_of_json | None:
    raw = carried.extended_attributes()
    if raw is None:
        return None
    found: type_of_json = {"list_base64": _base64(raw)}
    try:
        found["entries"] = [
            {
                "name": each.name.decode("latin-1"),
                "flags": each.flags,
                "value_base64": _base64(each.value),
            }
            for each in decode_extended(raw)
        ]
    except FormatError as error:
        found["problem"] = error.message
    return found


def _streams(carried: Carried) -> list[type_of_json]:
    room = MAX_STREAM_BYTES
    found: list[type_of_json] = []
    used = {DESCRIPTION}
    for number, stream in enumerate(carried.entry.streams):
        suffix = _suffix(carried.entry, stream.name, number)
        line: type_of_json = {"name": stream.name, "size": stream.size, "suffix": None}
        found.append(line)
        if suffix in used or not fits(carried.entry, suffix):
            carried.lose(f"stream:{stream.name}", "no name for its file")
            continue
        data = carried.stream(stream, room)
        if data is None:
            continue
        used.add(suffix)
        room -= len(data)
        line["suffix"] = suffix.decode()
        carried.sidecars.append((suffix, data))
    return found


def _suffix(entry: VolumeEntry, name: str, number: int) -> bytes:
    """Return what to add to the entry's name for a stream; its number where its name is too long."""
    parts = []
    for character in name:
        data = character.encode("utf-8", "surrogatepass")
        odd = "\ud800" <= character <= "\udfff"
        parts.append(_percent(data) if odd else _UNFIT.sub(lambda m: _percent(m[0]), data))
    suffix = STREAM + b"".join(parts)
    return suffix if fits(entry, suffix) else STREAM + b"%%n%d" % number


def _percent(data: bytes) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in data)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
