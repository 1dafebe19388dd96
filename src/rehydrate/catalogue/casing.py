"""Names as Windows compares them: each UTF-16 unit through the upper-case table of the volume.

NTFS keeps its own table (``$UpCase``), made when the volume was formatted, and compares units, not
characters: a character outside the first 65,536 is two units, which tables leave alone. No rule of
Unicode applies; ``ß`` and ``SS`` are different names, and so are two forms of ``é``.
"""

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from rehydrate.errors import CorruptMetadataError

__all__ = ["Casing", "decode_name", "slashed"]

_UNITS: Final = 0x10000
_ASCII: Final = 0x80
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_DRIVE: Final = re.compile(
    r"\A(?:[\\/]{2}[?.][\\/])?(?:[A-Za-z]:|Volume\{[-0-9A-Fa-f]{36}\})(?=[\\/]|\Z)"
)


def decode_name(path: bytes) -> str:
    """Return a path as text; unpaired surrogates stay, and so do bytes that are no text.

    Args:
        path: UTF-8, as :class:`~rehydrate.stores.volume.VolumeEntry` has it.
    """
    try:
        return path.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return path.decode("utf-8", "surrogateescape")


class Casing:
    """Folds names by the table of one volume.

    Characters of ASCII that are no letters stay what they are and nothing else becomes one of them,
    whatever the table says: so a table cannot move the borders of components, nor make a wildcard.
    """

    def __init__(self, table: npt.NDArray[np.uint16]) -> None:
        """Bind a table.

        Args:
            table: Upper case of each unit, shape ``(65536,)``.

        Raises:
            CorruptMetadataError: The table has another size.
        """
        if table.shape != (_UNITS,):
            raise CorruptMetadataError(
                f"a case table of {table.size} units, {_UNITS} are due", code="volume.case-table"
            )
        units = np.arange(_UNITS, dtype=np.uint16)
        upper = table.astype(np.uint16)
        kept = _no_letter(units) | _no_letter(upper)
        self._characters = _Characters(np.where(kept, units, upper))

    def fold(self, name: str) -> str:
        """Return a name so that two are equal exactly if the volume takes them for one.

        Args:
            name: A name or path, as :func:`decode_name` gives it.
        """
        folded = name.translate(self._characters)
        if not folded.isascii() and _SURROGATES.search(folded):
            # Halves that stand side by side by now are the character that they make.
            return folded.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return folded


def _no_letter(units: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """Tell which units are ASCII and no letters."""
    lower = units | 0x20
    found: npt.NDArray[np.bool_] = (units < _ASCII) & ((lower < ord("a")) | (lower > ord("z")))
    return found


class _Characters(dict[int, str]):
    """What becomes of each character; filled as they come."""

    def __init__(self, table: npt.NDArray[np.uint16]) -> None:
        super().__init__()
        self._table = table

    def __missing__(self, character: int) -> str:
        units = np.frombuffer(chr(character).encode("utf-16-le", "surrogatepass"), "<u2")
        upper: bytes = self._table[units].astype("<u2").tobytes()
        self[character] = folded = upper.decode("utf-16-le", "surrogatepass")
        return folded


def slashed(path: str) -> str:
    r"""Return a path as people write it on Windows in our form.

    Args:
        path: Such as ``E:\Shares\*.xlsx`` or ``\\?\Volume{...}\Shares``.

    Returns:
        The same below the root of the volume, with ``/`` between components; ``/`` for the root.
    """
    return _DRIVE.sub("", path, count=1).replace("\\", "/") or "/" if path else path
