"""What the objects of a thaw cost, each by its tier and its bytes."""

from collections.abc import Sequence

from rehydrate.media.prices import Offer, PriceTable
from rehydrate.media.tiers import price
from rehydrate.stores.objects.survey import Survey
from rehydrate.values import StorePath

__all__ = ["Tariff"]


class Tariff:
    """The prices of a table for the objects of a store.

    Attributes:
        table: The table.
        days: Days for which copies are kept.
    """

    def __init__(self, survey: Survey, table: PriceTable, days: int) -> None:
        """Bind.

        Args:
            survey: What is known of objects.
            table: Prices.
            days: Days for which copies are kept.
        """
        self._survey, self.table, self.days = survey, table, days

    def tier(self, path: StorePath) -> str:
        """Return the archive tier of an object, as the price table names it; empty = none.

        Args:
            path: The object.
        """
        state = self._survey.state(path)
        return "" if state is None else state.tier

    def size(self, path: StorePath) -> int:
        """Return the bytes of an object; 0 = not known.

        Args:
            path: The object.
        """
        state = self._survey.state(path)
        return 0 if state is None else state.size

    def offer(self, path: StorePath, speed: str) -> Offer | None:
        """Return a way for an object; None where the table has none.

        Args:
            path: The object.
            speed: Name of the way.
        """
        wanted = self.tier(path), speed
        offers = self.table.offers
        return next((offer for offer in offers if (offer.tier, offer.speed) == wanted), None)

    def dearer(self, path: StorePath, speed: str, other: str) -> int:
        """Return what one way costs more than another, millionths.

        Args:
            path: The object.
            speed: The one way.
            other: The other.
        """
        return 0 if speed == other else self._cost(path, speed) - self._cost(path, other)

    def _cost(self, path: StorePath, speed: str) -> int:
        offer = self.table.offer(self.tier(path), speed)
        size = max(self.size(path), offer.minimum_bytes)
        return price(self.table, offer, 1, size, self.days).total

    def longer(self, path: StorePath, speed: str) -> int | None:
        """Return the price of more days of a copy: a request, and no bytes; None = there is none.

        Args:
            path: The object.
            speed: Way of the request.
        """
        offer = self.offer(path, speed)
        if offer is None:
            return None
        kept = price(self.table, offer, 0, self.size(path), self.days).kept
        return price(self.table, offer, 1, 0, self.days).total + kept

    def costs(self, paths: Sequence[StorePath], speed: str) -> list[int]:
        """Return the price of each object; together they are the price of all, as a plan has it.

        Args:
            paths: Objects.
            speed: Name of the way.

        Raises:
            RequestError: The table has no price for one of them.
        """
        so_far: dict[str, tuple[int, int, int]] = {}  # by tier: objects, bytes, price
        found = []
        for path in paths:
            tier = self.tier(path)
            offer = self.table.offer(tier, speed)
            objects, billed, cost = so_far.get(tier, (0, 0, 0))
            objects, billed = objects + 1, billed + max(self.size(path), offer.minimum_bytes)
            total = price(self.table, offer, objects, billed, self.days).total
            so_far[tier] = objects, billed, total
            found.append(total - cost)
        return found
