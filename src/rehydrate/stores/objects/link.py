"""How far away a service is, and which reads suit it.

Two needed ranges share a request where reading the bytes between them takes less time than another
request: ``gap = latency x bandwidth`` of one connection, as Arrow derives it from network figures.
"""

import math
import time
from collections.abc import Callable
from typing import Final

import attrs

from rehydrate.errors import RequestError
from rehydrate.values import ReadableBuffer

__all__ = ["LINKS", "Link", "measure"]

_PART: Final = 8 << 20
"""Bytes of a request at most: large enough that the first byte's delay is a small part of it, small
enough that several are in flight within the engine's memory."""
_MOST_CONNECTIONS: Final = 64
"""Most concurrent reads that the engine takes."""
_SMALL_READS: Final = 4
_LARGE_READ: Final = 4 << 20


@attrs.frozen(kw_only=True)
class Link:
    """The way to a service.

    Attributes:
        latency: Seconds from a request to its first byte.
        bandwidth: Bytes a second of one connection after that.
        connections: Requests in flight at once, 1 to 64.
    """

    latency: float
    bandwidth: float
    connections: int = 16

    def __attrs_post_init__(self) -> None:
        """Refuse figures that are none.

        Raises:
            RequestError: With code ``"object.link"``.
        """
        if not (
            math.isfinite(self.latency * self.bandwidth) and self.latency >= 0 < self.bandwidth
        ):
            raise RequestError("a link needs a latency and a bandwidth", code="object.link")
        if not 1 <= self.connections <= _MOST_CONNECTIONS:
            raise RequestError("a link has 1 to 64 connections", code="object.link")

    @property
    def max_gap(self) -> int:
        """Unneeded bytes that are cheaper to read than to skip, at most half a request."""
        return min(int(self.latency * self.bandwidth), _PART // 2)

    @property
    def max_read(self) -> int:
        """Bytes of a request at most."""
        return _PART


LINKS: Final = {
    "s3": Link(latency=0.03, bandwidth=50e6),
    "gs": Link(latency=0.04, bandwidth=50e6),
    "az": Link(latency=0.03, bandwidth=50e6),
    "http": Link(latency=0.05, bandwidth=20e6, connections=6),
    "file": Link(latency=8e-5, bandwidth=50e6, connections=4),
    "memory": Link(latency=0.0, bandwidth=1e9, connections=1),
}
"""Assumed links by scheme (nothing here is measured: see :func:`measure`)."""


def measure(
    fetch: Callable[[int, int], ReadableBuffer],
    size: int,
    *,
    connections: int = 16,
    monotonic: Callable[[], float] = time.monotonic,
) -> Link:
    """Measure a link by a few requests on one object.

    Args:
        fetch: Gets ``(offset, length)`` of the object.
        size: Bytes of the object, at least 1.
        connections: Requests in flight at once, taken over.
        monotonic: The clock.

    Raises:
        RequestError: The object is empty.
        StoreError: The object cannot be read.
    """
    if size < 1:
        raise RequestError("a link is measured with an object that holds bytes", code="object.link")

    def seconds(offset: int, length: int) -> float:
        begin = monotonic()
        fetch(offset, length)
        return monotonic() - begin

    seconds(0, 1)  # opens the connection
    latency = min(seconds(size * part // _SMALL_READS, 1) for part in range(_SMALL_READS))
    length = min(size, _LARGE_READ)
    flow = max(seconds(0, length) - latency, 1e-6)
    return Link(latency=latency, bandwidth=max(length / flow, 1e3), connections=connections)
