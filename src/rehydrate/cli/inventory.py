"""The work of ``rehydrate inventory``."""

from pathlib import Path

import numpy as np

from rehydrate.cli.exit_codes import OK
from rehydrate.cli.output import Json, document, say, shown, table
from rehydrate.cli.sizes import counted, size
from rehydrate.errors import RequestError
from rehydrate.stores.ltfs.table import Kind
from rehydrate.stores.ltfs.taking import (
    Taken,
    save_inventory,
    take_from_drive,
    take_from_files,
    take_from_mount,
)
from rehydrate.stores.tape.opening import DriveKind, kind_of_drive, open_drive

__all__ = ["take"]

_BASIS = ("native", "told")
_Documents = tuple[Path | None, Path | None]


def take(
    drive: str | None,
    out: Path,
    *,
    barcode: str | None,
    generation: str | None,
    native: bool,
    documents: _Documents,
    as_json: bool,
) -> int:
    """Take an inventory, save it, and say what is on the volume.

    Args:
        drive: The drive.
        out: Directory of the inventories.
        barcode: Name of the volume.
        generation: Generation of its tape.
        native: Its data are stored at native size.
        documents: Files with label and index, instead of a drive.
        as_json: Print a document instead of text.

    Returns:
        The exit code.
    """
    label, index = documents
    if drive is None:
        if label is None or index is None or barcode is None:
            raise RequestError("name a drive, or say --label FILE --index FILE --barcode NAME")
        taken = take_from_files(label, index, barcode, generation, native=native)
        return _saved(taken, out, as_json=as_json)
    if label is not None or index is not None:
        raise RequestError("--label and --index: instead of a drive, not with one")
    if kind_of_drive(drive) is DriveKind.MOUNT:
        taken = take_from_mount(Path(drive), barcode, generation, native=native)
        return _saved(taken, out, as_json=as_json)
    device = open_drive(drive)
    try:
        taken = take_from_drive(device, barcode, generation, native=native)
        return _saved(taken, out, as_json=as_json)
    finally:
        device.close()


def _saved(taken: Taken, out: Path, *, as_json: bool) -> int:
    """Save an inventory while the drive is open, and show it."""
    path = save_inventory(taken, out)
    facts = _facts(taken)
    if as_json:
        document("inventory", {**facts, "saved": str(path)})
        return OK
    written = facts["written_blocks"]
    rows = [
        ["barcode", str(facts["barcode"])],
        ["volume", str(facts["volume_uuid"])],
        ["index", f"generation {facts['index_generation'] or 'not known'}"],
        ["files", f"{facts['files']:,}"],
        ["bytes", size(int(str(facts["bytes"])))],
        ["block size", size(int(str(facts["block_size"])))],
        [
            "tape",
            str(facts["generation"] or "not known: no times, and the order is that of blocks"),
        ],
    ]
    if isinstance(written, dict) and written:
        rows.append(["written", ", ".join(f"{key}: {blocks:,} blocks"
                                          for key, blocks in written.items())])  # fmt: skip
    if taken.inventory.generation:
        rows.append(["wraps", _wraps(taken)])
    for line in table(rows):
        say(line)
    if facts["damaged"]:
        say(f"{counted(int(str(facts['damaged'])), 'file has', 'files have')} no valid entry")
    say(f"saved in {shown(str(path))}")
    return OK


def _wraps(taken: Taken) -> str:
    """Say what is known of the places on the tape."""
    ends = len(taken.inventory.wrap_ends)
    if ends:
        return counted(ends, "end", "ends") + " told by the drive"
    if taken.inventory.volume.tape.geometry is not None:
        return "taken to be of native size"
    return "not known: no times for positioning, and the order is that of blocks"


def _facts(taken: Taken) -> dict[str, Json]:
    inventory = taken.inventory
    volume, columns = inventory.volume, inventory.volume.index.columns
    files = columns.kind == Kind.FILE
    return {
        "barcode": volume.name,
        "volume_uuid": str(volume.label.volume_uuid),
        "index_generation": volume.index.head.generation,
        "files": int(np.count_nonzero(files)),
        "bytes": int(columns.length[files].sum()),
        "damaged": int(np.count_nonzero(columns.problem[files])),
        "block_size": volume.label.block_size,
        "generation": inventory.generation or None,
        "written_blocks": dict(volume.written),
        "wrap_ends": len(inventory.wrap_ends),
        "geometry": None if volume.tape.geometry is None else _BASIS[bool(inventory.wrap_ends)],
        "mounted": inventory.mounted,
    }
