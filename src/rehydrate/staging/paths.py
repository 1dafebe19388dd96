"""Decides which names may be written below a target root; the only place that decides it.

A name is judged as it came, before any join, and never cleaned into another one. The rules are
pure: nothing here looks at a file system.
"""

import re
import sys
import unicodedata
from typing import Final

from rehydrate.errors import UnsafeTargetError

__all__ = [
    "MAX_COMPONENT",
    "MAX_DEPTH",
    "MAX_PATH",
    "WORKSPACE_PREFIX",
    "check_target",
    "collision_key",
    "display",
    "is_short_alias",
    "stays_inside",
]

MAX_COMPONENT: Final = 255
"""Longest component: bytes, and UTF-16 units where the rules of Windows hold."""
MAX_PATH: Final = 4095
"""Longest path in bytes: a directory is opened by its whole path in one call."""
MAX_DEPTH: Final = 256
"""Most components of a path."""
WORKSPACE_PREFIX: Final = b".rehydrate-"
"""How our private directories begin; no restored name may."""

_COMPONENT: Final = rb"(?!\.{1,2}(?:/|\Z)|\.rehydrate-)[^/\0]{1,255}"
_PLAIN: Final = re.compile(rb"%b(?:/%b){0,255}" % (_COMPONENT, _COMPONENT))
_FORBIDDEN: Final = re.compile(r'[\x00-\x1f<>:"|?*\\]')
# Microsoft, "Naming Files, Paths, and Namespaces": reserved with any extension, too, and also with
# the superscript digits of Latin-1.
_DEVICES: Final = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [port + digit for port in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"]
)
_SHORT_ALIAS: Final = re.compile(rb"[^.~/]{1,6}~[0-9]{1,6}(?:\.[^./]{0,3})?")


def display(path: bytes) -> str:
    """Return a path as text for fields and messages.

    Args:
        path: Any path.

    Returns:
        Text; bytes that are no UTF-8 are escaped (``surrogateescape``), so that it can go back.
    """
    return path.decode("utf-8", "surrogateescape")


def check_target(
    path: str | bytes, *, portable_names: bool = False, windows: bool = sys.platform == "win32"
) -> bytes:
    """Decide whether a file, directory or link may be made under this name.

    Args:
        path: Path relative to the target root, ``/`` between components. Text may hold escaped
            bytes (``surrogateescape``).
        portable_names: Also refuse what some operating system could not hold.
        windows: The target follows the rules of Windows.

    Returns:
        The path as bytes, unchanged.

    Raises:
        UnsafeTargetError: The name is refused; ``code`` begins with ``name.``.
    """
    try:
        raw = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
    except UnicodeEncodeError as cause:
        shown = path.encode("utf-8", "backslashreplace") if isinstance(path, str) else path
        raise _refusal("encoding", "is no valid text", shown) from cause
    if len(raw) > MAX_PATH or _PLAIN.fullmatch(raw) is None:
        raise _posix_refusal(raw)
    if portable_names or windows:
        for component in raw.split(b"/"):
            _check_portable(component, raw)
    return raw


def _refusal(code: str, reason: str, path: bytes) -> UnsafeTargetError:
    shown = display(path)
    return UnsafeTargetError(
        f"refused: the name {shown[:200]!r} {reason}", code=f"name.{code}", file=shown
    )


def _posix_refusal(path: bytes) -> UnsafeTargetError:
    parts = path.split(b"/")
    for refused, code, reason in (
        (not path, "empty", "is empty"),
        (path.startswith(b"/"), "absolute", "is absolute"),
        (b"\0" in path, "nul", "holds a NUL byte"),
        (b".." in parts or b"." in parts, "traversal", "has a component '.' or '..'"),
        (b"" in parts, "component", "has an empty component"),
        (len(path) > MAX_PATH, "long", f"is longer than {MAX_PATH} bytes"),
        (len(parts) > MAX_DEPTH, "depth", f"has more than {MAX_DEPTH} components"),
        (max(map(len, parts)) > MAX_COMPONENT, "long", "has a component over 255 bytes"),
    ):
        if refused:
            return _refusal(code, reason, path)
    return _refusal("reserved", "begins like the private directory of a restore", path)


def _check_portable(component: bytes, path: bytes) -> None:
    try:
        text = component.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise _refusal("encoding", "is not valid UTF-8", path) from cause
    if _FORBIDDEN.search(text):
        raise _refusal("portable", "holds a character that Windows reserves", path)
    if text.endswith((".", " ")):
        raise _refusal("portable", "ends with a dot or a space", path)
    if text.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        raise _refusal("portable", "is the name of a device on Windows", path)
    if len(text.encode("utf-16-le")) > 2 * MAX_COMPONENT:
        raise _refusal("long", "has a component over 255 UTF-16 units", path)


def collision_key(path: bytes) -> str:
    """Return what two paths have in common that some file systems take for one.

    Args:
        path: An accepted path.

    Returns:
        The path without case and without a choice of normalisation. Two different paths with the
        same key cannot both be restored where names fold, nor under ``portable_names``.
    """
    if path.isascii():
        return path.decode("ascii").lower()
    folded = unicodedata.normalize("NFD", display(path)).casefold()
    return unicodedata.normalize("NFC", folded)


def is_short_alias(path: bytes) -> bool:
    """Tell whether the last component looks like an 8.3 alias (``PROGRA~1``).

    Args:
        path: An accepted path.

    Returns:
        True if it does; such a name that exists already may be another file's second name.
    """
    return _SHORT_ALIAS.fullmatch(path.rpartition(b"/")[2]) is not None


def stays_inside(path: bytes, text: bytes) -> bool:
    """Tell whether a symbolic link stays inside the target root, judged by its text alone.

    Args:
        path: Where the link is made, an accepted path.
        text: What the link says.

    Returns:
        False for absolute texts, empty ones, and those that climb above the root on the way.
    """
    if not text or text.startswith(b"/") or b"\0" in text:
        return False
    depth = path.count(b"/")
    for component in text.split(b"/"):
        if component == b"..":
            depth -= 1
        elif component not in (b"", b"."):
            depth += 1
        if depth < 0:
            return False
    return True
