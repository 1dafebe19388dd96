"""Ways to thaw what a plan needs, priced beside each other."""

import attrs

__all__ = ["ComparedThaw"]


@attrs.frozen(kw_only=True)
class ComparedThaw:
    """One way to thaw the archived objects of a plan; money in millionths of the currency's unit.

    Attributes:
        speed: Its name, such as ``"standard"``.
        objects: Archived objects, which are thawed whole.
        bytes: Their bytes.
        waves: Requests go out in so many waves; 0 = not known.
        quick_seconds: Until the first can be read, at the earliest.
        slow_seconds: Until all of the first wave can be read, at the latest.
        total_seconds: Until the last byte is read, at the latest.
        requests: Price of the requests.
        retrieval: Price of the bytes.
        kept: Price of keeping the copies.
        price: All of these.
        currency: Such as ``"USD"``.
        taken: Whether it is the one that the plan shows.
        problem: Why it cannot be taken; empty = it can.
    """

    speed: str
    objects: int
    bytes: int
    waves: int = 0
    quick_seconds: int | None = None
    slow_seconds: int | None = None
    total_seconds: int | None = None
    requests: int | None = None
    retrieval: int | None = None
    kept: int | None = None
    price: int | None = None
    currency: str = ""
    taken: bool = False
    problem: str = ""
