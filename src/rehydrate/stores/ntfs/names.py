"""Names of a volume: compared through its own upper-case table, and chosen by prefixes.

NTFS compares names by UTF-16 unit after a look into ``$UpCase``; no rule of Unicode is applied
beyond that. Without a table only the letters of ASCII are taken as equal.
"""

from collections.abc import Sequence
from typing import Final, Self

import attrs
import numpy as np
import numpy.typing as npt

__all__ = ["Chosen", "Fold", "as_name", "as_path", "chosen_by", "is_component"]

_ASCII: Final = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_SURROGATES: Final = range(0xD800, 0xE000)


@attrs.frozen
class Fold:
    """Brings names that the volume takes as equal to one form.

    Attributes:
        mapping: Code points of the BMP that are not their own upper case.
    """

    mapping: dict[int, int] = attrs.field(factory=lambda: dict(_ASCII))

    @classmethod
    def of(cls, table: npt.NDArray[np.uint16] | None) -> Self:
        """Use the table of a volume.

        Args:
            table: Upper case of each UTF-16 unit; ``None`` = not known.
        """
        if table is None:
            return cls()
        changed = np.flatnonzero(table != np.arange(len(table)))
        pairs = zip(changed.tolist(), table[changed].tolist(), strict=True)
        return cls({unit: upper for unit, upper in pairs if unit not in _SURROGATES})

    def __call__(self, name: str) -> str:
        """Return the form that equal names share."""
        return name.translate(self.mapping)


def is_component(name: str) -> bool:
    """Return whether a name can stand between two slashes and mean itself."""
    return name not in {"", ".", ".."} and "/" not in name and "\0" not in name


def as_path(name: str) -> bytes:
    """Return a name as bytes of a path."""
    return name.encode("utf-8", "surrogatepass")


def as_name(part: bytes) -> str:
    """Return one component of a path as a name; bytes that are no name equal none."""
    try:
        return part.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return part.decode("utf-8", "replace") + "\0"


@attrs.define(eq=False)
class Chosen:
    """A directory on the way to the paths that were asked for.

    Attributes:
        whole: Whether it was asked for itself, with all that is below it.
        below: What lies below it, by folded name.
    """

    whole: bool = False
    below: "dict[str, Chosen]" = attrs.field(factory=dict)


def chosen_by(prefixes: Sequence[bytes], fold: Fold) -> Chosen:
    """Return the root of the tree of paths that were asked for.

    Args:
        prefixes: Paths from the root of the volume; empty = everything. Slashes at either end do
            not matter.
        fold: How names are compared.
    """
    root = Chosen(whole=not prefixes)
    for prefix in prefixes:
        node = root
        for part in prefix.split(b"/"):
            if part:
                name = fold(as_name(part))
                node = node.below.setdefault(name, Chosen())
        node.whole = True
    return root
