"""``rehydrate inventory``: what is on a tape is written down."""

from pathlib import Path
from typing import Annotated, TypeAlias

from rehydrate.cli.declare import Argument, Option
from rehydrate.cli.parameters import AsJson

__all__ = ["inventory"]

_Drive: TypeAlias = Annotated[
    str | None,
    Argument(
        "DRIVE",
        "Drive with the volume: a SCSI generic device (/dev/sg3), a tape device (/dev/nst0), a"
        " directory where the volume is mounted, or a tape in files (NAME.json, with NAME.bin).",
    ),
]
_Out: TypeAlias = Annotated[
    Path,
    Option("--out", "-o", metavar="DIR", text="Directory of the inventories.", default=False),
]
_Barcode: TypeAlias = Annotated[
    str | None,
    Option(
        "--barcode",
        metavar="NAME",
        text="Barcode of the volume; that of its label otherwise, which leaves out the generation.",
        default=False,
    ),
]
_Generation: TypeAlias = Annotated[
    str | None,
    Option(
        "--generation",
        metavar="NAME",
        text="Generation of the tape, such as LTO-9, for times and the order of reading; as the"
        " barcode ends (L9) otherwise; generic = not known.",
        default=False,
    ),
]
_Native: TypeAlias = Annotated[
    bool,
    Option(
        "--native",
        text="The data are stored at native size (the drive did not compress them, or could not):"
        " then places on the tape are known even if the drive does not tell the ends of wraps.",
        default=False,
    ),
]
_Label: TypeAlias = Annotated[
    Path | None,
    Option(
        "--label",
        metavar="FILE",
        text="Instead of DRIVE: a saved label, as XML; with --index and --barcode.",
        default=False,
    ),
]
_Index: TypeAlias = Annotated[
    Path | None,
    Option(
        "--index",
        metavar="FILE",
        text="Instead of DRIVE: a saved index, as XML.",
        default=False,
    ),
]


def inventory(
    drive: _Drive = None,
    *,
    out: _Out,
    barcode: _Barcode = None,
    generation: _Generation = None,
    native: _Native = False,
    label: _Label = None,
    index: _Index = None,
    as_json: AsJson = False,
) -> int:
    """Write down what is on the LTFS volume in a drive, so that plans need no tape.

    Label and newest index are read, and nothing else. `plan --tapes DIR` and `restore --tapes DIR`
    take the directory with the inventories of all volumes.
    """
    from rehydrate.cli.inventory import take

    return take(
        drive,
        out,
        barcode=barcode,
        generation=generation,
        native=native,
        documents=(label, index),
        as_json=as_json,
    )
