"""What a tape drive does for a store, and who puts volumes into it.

A drive needs six methods. Whatever else it can (tell where its wraps end, recommend an order) is a
protocol of its own and asked for once.
"""

import uuid
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

import attrs

from rehydrate.errors import StoreReadError
from rehydrate.media.geometry import WrapEnd

__all__ = [
    "END_OF_DATA",
    "READ_FAILED",
    "MountRequest",
    "MountsVolumes",
    "RecommendsOrder",
    "Stretch",
    "TapeDrive",
    "TapePosition",
    "TellsVolume",
    "TellsWraps",
    "end_of_data",
    "read_failed",
]

END_OF_DATA: Final = "tape.end-of-data"
"""Code of the error for a read or a locate beyond what is written."""
READ_FAILED: Final = "tape.read"
"""Code of the error for a record that the drive cannot read, or a command that it cannot do."""


@attrs.frozen(order=True)
class TapePosition:
    """Where the next record comes from.

    Attributes:
        partition: Number of the partition on the tape, from 0.
        block: Number of the record or filemark in it, from 0; both count.
    """

    partition: int
    block: int


class TapeDrive(Protocol):
    """A drive with a volume in it; used by one thread at a time.

    Every method may raise :class:`~rehydrate.StoreError` or ``OSError``; the code
    ``"tape.end-of-data"`` means that nothing more is written there, anything else may be tried
    again.
    """

    def locate(self, partition: int, block: int, /) -> None:
        """Go to a block, so that :meth:`read_record` returns it.

        Args:
            partition: Number of the partition.
            block: Number of the block in it.
        """
        ...

    def locate_end(self, partition: int, /) -> None:
        """Go behind the last thing that is written in a partition.

        Args:
            partition: Number of the partition.
        """
        ...

    def space_filemarks(self, count: int, /) -> None:
        """Go over filemarks.

        Args:
            count: Forward behind the ``count``-th filemark, or, negative, back before it.
        """
        ...

    def read_record(self, /) -> bytes | None:
        """Return the next record whole, or ``None`` for a filemark, and stand behind it.

        After an error the position is not known: the next call is a locate.
        """
        ...

    def position(self, /) -> TapePosition:
        """Return where the drive stands."""
        ...

    def close(self, /) -> None:
        """Give the device back; the volume stays where it is."""
        ...


@runtime_checkable
class TellsVolume(Protocol):
    """Optional: the drive knows its volume otherwise than by a label on the tape."""

    def volume_uuid(self, /) -> uuid.UUID:
        """Return the identity of the volume."""
        ...


@runtime_checkable
class TellsWraps(Protocol):
    """Optional: the drive knows where the wraps of the loaded volume end."""

    def wrap_ends(self, /) -> Sequence[WrapEnd]:
        """Return the last block of each wrap; empty if this drive does not tell."""
        ...


@attrs.frozen
class Stretch:
    """A piece of a volume that is read in one go, as drives name it.

    Attributes:
        partition: Number of the partition.
        first: First block.
        last: Last block, inclusive.
    """

    partition: int
    first: int
    last: int


@runtime_checkable
class RecommendsOrder(Protocol):
    """Optional: the drive can order stretches of the loaded volume itself."""

    def recommended_order(self, stretches: Sequence[Stretch], /) -> Sequence[int] | None:
        """Return the order in which the drive reads them soonest, from where it stands.

        Args:
            stretches: What is wanted, sorted by partition and block.

        Returns:
            A permutation of the indices; ``None`` if this drive has no recommendation for them.
        """
        ...


@attrs.frozen(kw_only=True)
class MountRequest:
    """A volume that is wanted in a drive.

    Attributes:
        barcode: Name of the volume, as on its cartridge.
        reason: Why, as a line for people.
        containers: Containers of the present round that have bytes on it.
        wanted_bytes: Bytes of these containers on it: what a complete read would take.
        seconds: How long it will be needed, positioning and reading; ``None`` where the times of
            the drive are not known.
        then: Volumes that will be wanted after it in the same drive, in order.
        drive: Number of the drive that it is wanted in, from 0.
    """

    barcode: str
    reason: str
    containers: int
    wanted_bytes: int
    seconds: float | None
    then: tuple[str, ...] = ()
    drive: int = 0


class MountsVolumes(Protocol):
    """Puts volumes into drives: a library, or a person who is asked.

    For a store with one drive all calls come from one thread. A store with several drives calls
    from a thread for each of them, so that several calls may run at once, but never two for the
    same drive, and never two for the same volume.
    """

    def mount(self, wanted: MountRequest, /) -> TapeDrive | None:
        """Return the drive with the volume in it; nothing waits for it but a preview: it may take hours.

        The volume that was mounted in this drive before is not needed any more, and is closed.

        Args:
            wanted: Which volume, why, and for how long.

        Returns:
            The drive; ``None`` if the volume cannot be had: its files fail, and it is not asked
            for again.

        Raises:
            rehydrate.NotReadyError: Later: everything else is read first, then it is asked again.
            rehydrate.Cancelled: Cancels the whole job.
        """
        ...


def end_of_data(message: str) -> StoreReadError:
    """Return the error for places where nothing is written."""
    return _typed(message, END_OF_DATA, retryable=False)


def read_failed(message: str) -> StoreReadError:
    """Return the error for what a drive could not do and may do if asked again."""
    return _typed(message, READ_FAILED, retryable=True)


def _typed(message: str, code: str, *, retryable: bool) -> StoreReadError:
    return StoreReadError(message, code=code, retryable=retryable)
