"""The arguments and options that several commands share, with their help."""

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from rehydrate.cli.declare import Argument, Option
from rehydrate.cli.sizes import parse_amount, parse_size

__all__ = [
    "AsJson",
    "Drives",
    "Endpoint",
    "Exclude",
    "FilesFrom",
    "Jobs",
    "Load",
    "MaxCost",
    "Memory",
    "Null",
    "Out",
    "Partition",
    "Patterns",
    "PriceTable",
    "Recall",
    "Source",
    "Store",
    "Stores",
    "TapeFolder",
    "Tapes",
    "Thaw",
    "ThawDays",
    "Version",
]

LEAST_MEMORY: Final = 16 << 20


def _memory(text: str) -> int:
    found = parse_size(text)
    if found < LEAST_MEMORY:
        msg = f"{text} is less than 16M, the least that works"
        raise ValueError(msg)
    return found


def _version(text: str) -> str:
    if text.isdecimal() and not int(text):
        msg = "versions are numbered from 1"
        raise ValueError(msg)
    return text


Store: TypeAlias = Annotated[str, Argument("STORE", "Directory of the store.")]
Source: TypeAlias = Annotated[
    str,
    Argument(
        "SOURCE",
        "A store: a directory, or objects (s3://BUCKET/PREFIX, gs://, az://, file://). Or what"
        " holds a deduplicated Windows volume: an image of a disk or volume (raw,"
        " VHD, VHDX, E01, QCOW2, VMDK), a WindowsImageBackup folder, a folder copy or a mounted"
        " volume, a folder of backup streams.",
    ),
]
Partition: TypeAlias = Annotated[
    str | None,
    Option(
        "--partition",
        metavar="N",
        text="Partition of an image, or volume of a backup; the only one with deduplicated files"
        " otherwise.",
        default=False,
    ),
]
Stores: TypeAlias = Annotated[
    list[Path] | None,
    Option(
        "--store",
        metavar="DIR",
        text="Where else chunk stores are, for stubs that were copied without theirs: a folder with"
        " them, or another image; may be repeated.",
        default=False,
    ),
]
Recall: TypeAlias = Annotated[
    Literal["refuse", "ignore"],
    Option(
        "--recall",
        text="A stub that may hold newer data which the source cannot show: fail it, or take what"
        " the store has.",
    ),
]
Patterns: TypeAlias = Annotated[
    list[str] | None,
    Argument(
        "PATTERN",
        "Paths or patterns; all that lies below comes along. None = everything."
        " * ? [] stay between slashes, ** does not; a pattern without a slash fits at any depth.",
    ),
]
FilesFrom: TypeAlias = Annotated[
    Path | None,
    Option(
        "--files-from",
        metavar="FILE",
        text="Also take these paths, one a line, each with all that lies below; - = standard input.",
        default=False,
    ),
]
Null: TypeAlias = Annotated[
    bool, Option("-0", "--null", text="Paths of --files-from end with a zero byte.")
]
Exclude: TypeAlias = Annotated[
    list[str] | None,
    Option("--exclude", metavar="PATTERN", text="Leave these out; may be repeated.", default=False),
]
Version: TypeAlias = Annotated[
    str | None,
    Option(
        "--version",
        metavar="N",
        convert=_version,
        text="Number of the version, or its name as `versions` shows it; the newest whole one"
        " otherwise.",
        default=False,
    ),
]
AsJson: TypeAlias = Annotated[bool, Option("--json", text="Print one JSON document for programs.")]
Jobs: TypeAlias = Annotated[
    int, Option("--jobs", "-j", metavar="N", least=0, text="Worker threads; 0 = one a processor.")
]
Memory: TypeAlias = Annotated[
    int,
    Option(
        "--memory",
        metavar="SIZE",
        convert=_memory,
        text="Budget for buffers and the plan.",
        default="256M",
    ),
]
Out: TypeAlias = Annotated[
    Path, Option("--out", "-o", metavar="OUT", text="Directory to write into.", default=False)
]
Thaw: TypeAlias = Annotated[
    str | None,
    Option(
        "--thaw",
        metavar="TIER",
        text="Of a store of objects: thaw archived ones this way (expedited, standard, bulk; what"
        " the price table has). Without it nothing is thawed.",
        default=False,
    ),
]
MaxCost: TypeAlias = Annotated[
    int | None,
    Option(
        "--max-cost",
        metavar="AMOUNT",
        convert=parse_amount,
        text="Thaw nothing if all of it costs more, by the price table.",
        default=False,
    ),
]
ThawDays: TypeAlias = Annotated[
    int | None,
    Option(
        "--thaw-days",
        metavar="N",
        least=1,
        text="Days for which thawed copies are kept; 3 otherwise.",
        default=False,
    ),
]
PriceTable: TypeAlias = Annotated[
    Path | None,
    Option(
        "--price-table",
        metavar="FILE",
        text="Prices and times of thaws, as JSON; list prices of the providers otherwise.",
        default=False,
    ),
]
Tapes: TypeAlias = Annotated[
    Path | None,
    Option(
        "--tapes",
        metavar="DIR",
        text="Containers that are not in SOURCE lie on LTFS tapes: directory with the inventories"
        " of the volumes, as `rehydrate inventory` makes them.",
        default=False,
    ),
]
TapeFolder: TypeAlias = Annotated[
    str | None,
    Option(
        "--tape-folder",
        metavar="PATH",
        text="Folder on the tapes that has the folders of the store; the only one that fits"
        " otherwise.",
        default=False,
    ),
]
Drives: TypeAlias = Annotated[
    list[str] | None,
    Option(
        "--drive",
        metavar="DRIVE",
        text="Where the volumes of --tapes come up: a device (/dev/sg3, /dev/nst0), a directory"
        " where they are mounted, or a tape in files (NAME.json); {barcode} in it stands for the"
        " volume. May be repeated: so many read at a time. A plan only counts them.",
        default=False,
    ),
]
Load: TypeAlias = Annotated[
    str | None,
    Option(
        "--load",
        metavar="COMMAND",
        text="Program that gets a volume into the drive, with {barcode} and {drive} in its words; no"
        " shell. Code 0 = it is there, 75 = later, other = it cannot be had. Without it whoever"
        " sits at the terminal is asked.",
        default=False,
    ),
]
Endpoint: TypeAlias = Annotated[
    str | None,
    Option(
        "--endpoint",
        metavar="URL",
        text="Address of a service that is not the provider's own.",
        default=False,
    ),
]
