"""Security descriptors as text, so that people can read them and Windows can take them back."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from rehydrate.catalogue.windows_metadata.descriptor import (
    DACL_PRESENT,
    SACL_PRESENT,
    Ace,
    Acl,
    SecurityDescriptor,
)

__all__ = ["sddl"]

# MS-DTYP 2.5.1: the letters of the security descriptor description language.
_KINDS: Final = {
    0x00: "A",
    0x01: "D",
    0x02: "AU",
    0x03: "AL",
    0x05: "OA",
    0x06: "OD",
    0x07: "OU",
    0x08: "OL",
    0x11: "ML",
    0x13: "SP",
}
_FLAGS: Final = {
    0x01: "OI",
    0x02: "CI",
    0x04: "NP",
    0x08: "IO",
    0x10: "ID",
    0x40: "SA",
    0x80: "FA",
}
_DACL_CONTROL: Final = {0x1000: "P", 0x0100: "AR", 0x0400: "AI"}
_SACL_CONTROL: Final = {0x2000: "P", 0x0200: "AR", 0x0800: "AI"}
_LABEL: Final = 0x11
_LABEL_RIGHTS: Final = {0x1: "NW", 0x2: "NR", 0x4: "NX"}


def sddl(descriptor: SecurityDescriptor) -> str | None:
    """Write a descriptor in the security descriptor description language (MS-DTYP 2.5.1).

    SIDs are written in full and rights as numbers, not by alias, so that the text means the same to
    every reader.

    Args:
        descriptor: The descriptor.

    Returns:
        The text; ``None`` where it could not say everything: conditions, claims, unknown entries.
    """
    parts: list[str | None] = []
    if descriptor.owner is not None:
        parts.append(f"O:{descriptor.owner}")
    if descriptor.group is not None:
        parts.append(f"G:{descriptor.group}")
    control = descriptor.control
    if control & DACL_PRESENT:
        parts.append(_acl("D", control, _DACL_CONTROL, descriptor.dacl))
    if control & SACL_PRESENT:
        parts.append(_acl("S", control, _SACL_CONTROL, descriptor.sacl))
    known = [part for part in parts if part is not None]
    return "".join(known) if len(known) == len(parts) else None


def _acl(letter: str, control: int, flags: Mapping[int, str], acl: Acl | None) -> str | None:
    head = f"{letter}:" + "".join(name for bit, name in flags.items() if control & bit)
    if acl is None:
        return head + "NO_ACCESS_CONTROL"
    aces = [_ace(ace) for ace in acl.aces]
    known = [ace for ace in aces if ace is not None]
    return head + "".join(known) if len(known) == len(aces) else None


def _ace(ace: Ace) -> str | None:
    if ace.kind not in _KINDS or ace.flags & ~sum(_FLAGS) or any(ace.rest):
        return None
    flags = "".join(name for bit, name in _FLAGS.items() if ace.flags & bit)
    guids = ";".join(
        "" if guid is None else str(UUID(bytes_le=guid))
        for guid in (ace.object_type, ace.inherited_type)
    )
    return f"({_KINDS[ace.kind]};{flags};{_rights(ace)};{guids};{ace.sid})"


def _rights(ace: Ace) -> str:
    if ace.kind == _LABEL and ace.mask and not ace.mask & ~sum(_LABEL_RIGHTS):
        return "".join(name for bit, name in _LABEL_RIGHTS.items() if ace.mask & bit)
    return f"0x{ace.mask:x}"
