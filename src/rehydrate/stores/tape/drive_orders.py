"""The exchange with a drive that orders by itself: limits, list, answer; bytes go where told.

The bytes are those of :mod:`rehydrate.media.rao`.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from rehydrate.errors import CorruptMetadataError, LimitError
from rehydrate.media import rao
from rehydrate.stores.tape.drive import Stretch, TapePosition

__all__ = ["LIST_BYTES", "DriveOrders", "TellCommand"]

LIST_BYTES: Final = 1 << 22
"""Most bytes that are asked for in one portion of an answer."""
_LIMITS_BYTES: Final = 4
_FIXED: Final = 1  # the pinned begin takes a place of the list
_HEADER_BYTES: Final = 8


class TellCommand(Protocol):
    """Makes one command of a drive that moves nothing."""

    def __call__(self, cdb: bytes, receive: int, what: str, send: bytes = b"") -> bytes | None:
        """Return the answer; ``None`` if the drive does not know the command.

        Args:
            cdb: The command.
            receive: Bytes that may come, at most :data:`LIST_BYTES`; 0 if some are sent.
            what: What it does, for people.
            send: Bytes to send.

        Raises:
            StoreError: The drive cannot do it.
        """
        ...


class DriveOrders:
    """Asks one drive for orders and estimates."""

    def __init__(self, command: TellCommand) -> None:
        """Bind.

        Args:
            command: Makes the commands.
        """
        self._command = command

    def recommended(self, here: TapePosition, stretches: Sequence[Stretch]) -> Sequence[int] | None:
        """Return the order that the drive recommends; ``None`` if it does not offer this.

        Longer lists than the drive takes are cut in the order given, into batches of about one
        size; each begins where the one before ends.

        Args:
            here: Where the drive stands.
            stretches: What is wanted, sorted by partition and block.

        Raises:
            CorruptMetadataError: Its answers contradict themselves or what was sent.
            StoreError: It cannot do it.
        """
        limits = self._limits()
        if limits is None or limits.segments <= _FIXED:
            return None
        order: list[int] = []
        batches = -(-len(stretches) // (limits.segments - _FIXED))
        for number in range(batches):
            first, end = (len(stretches) * edge // batches for edge in (number, number + 1))
            sent = _list(here, stretches[first:end])
            answer = self._generated(rao.Process.REORDER, sent, limits)
            if answer is None:
                return None
            order += [first + place - _FIXED for place in _places(answer, sent)]
            last = stretches[order[-1]]
            here = TapePosition(last.partition, last.last)
        return order

    def estimated(self, here: TapePosition, stretches: Sequence[Stretch]) -> rao.AccessOrder | None:
        """Return what the drive says of an order as it is; ``None`` if it does not offer this.

        Args:
            here: Where the drive stands.
            stretches: The order.

        Raises:
            LimitError: With code ``"rao.too-many"`` if the drive does not take so many.
            CorruptMetadataError: Its answers contradict themselves or what was sent.
            StoreError: It cannot do it.
        """
        limits = self._limits()
        if limits is None:
            return None
        if len(stretches) + _FIXED > limits.segments:
            raise LimitError(
                f"{len(stretches)} stretches, the drive takes {limits.segments - _FIXED}",
                code="rao.too-many",
            )
        sent = _list(here, stretches)
        answer = self._generated(rao.Process.ESTIMATE, sent, limits)
        if answer is not None and _places(answer, sent) != list(range(_FIXED, len(sent))):
            raise CorruptMetadataError(
                "the drive changed an order that it was to estimate", code="rao.answer"
            )
        return answer

    def _limits(self) -> rao.RaoLimits | None:
        command = rao.receive_command(_LIMITS_BYTES, limits=True)
        page = self._command(command, _LIMITS_BYTES, "tell the limits of its order")
        return None if page is None else rao.decode_limits(page)

    def _generated(
        self, process: rao.Process, sent: Sequence[rao.DataSegment], limits: rao.RaoLimits
    ) -> rao.AccessOrder | None:
        """Send a list, and fetch the answer in as many portions as it has."""
        what = "order segments"
        listed = rao.encode_parameter_list(sent, limits)
        if self._command(rao.generate_command(process, len(listed)), 0, what, listed) is None:
            return None
        data, length = b"", _HEADER_BYTES + limits.descriptor_bytes * len(sent)
        while len(data) < length:
            size = min(length - len(data), LIST_BYTES)
            portion = self._command(rao.receive_command(size, offset=len(data)), size, what)
            if not portion:
                break
            data += portion
            length = rao.answer_length(data)
        found = rao.decode_answer(data[:length])
        if found.process is not process:
            raise CorruptMetadataError(
                "the drive answered for another list than was sent", code="rao.answer"
            )
        return found


def _list(here: TapePosition, stretches: Sequence[Stretch]) -> list[rao.DataSegment]:
    """Return the segments of a list, its begin pinned."""
    begin = rao.pinned_start(here.partition, here.block)
    return [begin] + [
        rao.DataSegment(rao.name_of(number), one.partition, one.first, one.last)
        for number, one in enumerate(stretches)
    ]


def _places(answer: rao.AccessOrder, sent: Sequence[rao.DataSegment]) -> list[int]:
    """Return the places of the answer in what was sent; the pinned begin is left out."""
    return [place for place in rao.permutation(answer, sent).tolist() if place]
