"""A store whose objects may lie in an archive tier: thawed in waves, read as they become ready.

Asking for the state of objects and for a price moves nothing: this is what an order call does, so
that a plan of a restore is free. The first preview of a frozen object asks for the first wave, and
only if a way of thawing was chosen. Plans are made with ``for_plans``, which never thaws: a plan reads
stream maps, and where these are frozen it fails instead of paying for them.
"""

import threading
from collections import Counter
from collections.abc import Sequence

import attrs

from rehydrate.errors import LimitError, RequestError, StoreReadError
from rehydrate.media.prices import PriceTable, parse_table
from rehydrate.media.tiers import ThawOptions
from rehydrate.ports import Clock, SystemClock
from rehydrate.stores.objects.archive import Archive, Stage
from rehydrate.stores.objects.asking import Asking, ThawChoice
from rehydrate.stores.objects.quote import Outlook, ThawQuote, plans_of, quote_of
from rehydrate.stores.objects.store import ObjectStore
from rehydrate.stores.objects.survey import Survey
from rehydrate.stores.objects.waves import Waves
from rehydrate.values import ContainerExtent, FileExtent, ReadableBuffer, StorePath

__all__ = ["ThawingStore"]

_ARCHIVED = frozenset({"object.archived", "object.archived-tiering"})
_RANK = {Stage.READABLE: 0, Stage.THAWING: 1, Stage.FROZEN: 2}


class ThawingStore:
    """Wraps an object store; see the module.

    Implements :class:`~rehydrate.protocols.BackupStore` with order, preview and all that the object
    store has. A preview of what is not thawed yet raises :class:`~rehydrate.NotReadyError`, so that
    the engine goes on with the rest.
    """

    def __init__(
        self,
        store: ObjectStore,
        archive: Archive,
        *,
        choice: ThawChoice | None = None,
        clock: Clock | None = None,
        survey: Survey | None = None,
    ) -> None:
        """Wrap a store; no service is asked yet.

        Args:
            store: Reads the objects.
            archive: Knows their states, and thaws.
            choice: How to thaw; without it nothing is thawed, and reads of frozen objects fail.
            clock: Time.
            survey: What is known of the objects already.

        Raises:
            CorruptMetadataError: The job file is damaged or one of another store.
            StoreReadError: It cannot be read.
        """
        self._store, self._archive, self._choice = store, archive, choice
        self._clock: Clock = SystemClock() if clock is None else clock
        self._survey = survey or Survey(archive, store.version_of, self._clock)
        self._lock = threading.Lock()
        self._waves: Waves | None = None
        if choice is not None:
            asking = Asking(archive, self._survey, choice, store.url, self._clock)
            self._waves = Waves(asking, self._survey, self._clock)
        self._order: tuple[StorePath, ...] = ()
        self._round: tuple[StorePath, ...] = ()

    @property
    def for_plans(self) -> "ThawingStore":
        """The same store as plans call it: it thaws nothing."""
        return ThawingStore(self._store, self._archive, clock=self._clock, survey=self._survey)

    @property
    def asked_about(self) -> tuple[StorePath, ...]:
        """The containers of the round that was ordered last which could not be read then."""
        return self._round

    @property
    def spent(self) -> int:
        """What the job asked for, millionths, by the price table."""
        return 0 if self._waves is None else self._waves.spent(())

    def outlook(self) -> Outlook | None:
        """Tell how far the thaw of the round is that was ordered last; None if nothing thaws."""
        with self._lock:
            return None if self._waves is None else self._waves.outlook(self._round)

    @property
    def concurrent_reads(self) -> int:
        """That of the object store."""
        return self._store.concurrent_reads

    @property
    def max_gap(self) -> int:
        """That of the object store: once thawed, an object is read by ranges."""
        return self._store.max_gap

    @property
    def max_read(self) -> int:
        """That of the object store."""
        return self._store.max_read

    @property
    def read_timeout(self) -> float:
        """That of the object store."""
        return self._store.read_timeout

    def quote(
        self,
        paths: Sequence[StorePath],
        *,
        speed: str,
        table: PriceTable | None = None,
        options: ThawOptions | None = None,
    ) -> ThawQuote:
        """Price the thaw of objects; nothing is asked for but their states.

        Args:
            paths: The objects that a restore needs, in the order of reading.
            speed: Way of the thaw.
            table: Prices; the built-in table by default.
            options: Days, rates and limits; those of the choice, or the usual ones, by default.

        Raises:
            LimitError: It costs more than the options allow.
            RequestError: The table has no price for this way.
        """
        known = self._survey
        known.look(paths)
        states = [known.state(path) for path in paths]
        counts = Counter("unknown" if state is None else state.stage.value for state in states)
        frozen = [state for state in states if state and state.stage is Stage.FROZEN]
        sizes: dict[str, list[int]] = {}
        for state in frozen:
            sizes.setdefault(state.tier, []).append(state.size)
        choice = self._choice
        prices = table or (parse_table() if choice is None else choice.table)
        chosen = options or (ThawOptions() if choice is None else choice.options)
        plans = plans_of(sizes, speed, prices, chosen)
        return quote_of(
            plans,
            speed=speed,
            table=prices,
            counts=counts,
            frozen_bytes=sum(state.size for state in frozen),
            spent=0 if self._waves is None else self._waves.spent(paths),
        )

    def order_containers_restore(self, containers: Sequence[StorePath], /) -> list[ContainerExtent]:
        """Put what can be read first, then what is being thawed; asks for states only.

        Args:
            containers: The distinct containers of the round.

        Raises:
            Cancelled: The thaw was not approved.
        """
        with self._lock:
            self._survey.look(containers)
            stages = [self._survey.stage(path) for path in containers]
            order = sorted(range(len(containers)), key=lambda index: (_RANK[stages[index]], index))
            self._order = tuple(containers[index] for index in order)
            cold = [path for path in self._order if self._survey.stage(path) is not Stage.READABLE]
            self._round = tuple(cold)
        if self._choice is not None and self._choice.approve is not None:
            self._choice.approve(containers, self._price(self._choice))
        return [ContainerExtent(index=index) for index in order]

    def _price(self, choice: ThawChoice) -> ThawQuote | LimitError | RequestError:
        """Price the round, without a limit: whoever approves it wants both numbers."""
        options = attrs.evolve(choice.options, max_cost=None)
        try:
            return self.quote(self._order, speed=choice.speed, table=choice.table, options=options)
        except (LimitError, RequestError) as error:
            return error

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Return if the object can be read; ask for thaws that are due.

        Args:
            path: The object.
            reads: Its reads; a thaw is always of the whole object.

        Raises:
            NotReadyError: It is being thawed, or its wave has not come.
            StoreReadError: It is frozen and will not be thawed; reads fail with the same error.
        """
        with self._lock:
            if self._survey.stage(path) is not Stage.READABLE:
                self._await(path)
            if self._waves is not None:
                self._waves.reading(path, sum(read.length for read in reads))

    def _await(self, path: StorePath) -> None:
        if self._waves is None:
            raise _frozen(path)
        blocked = self._waves.blocked(path)
        if blocked is not None:
            raise blocked
        wanted, self._order = (*self._order, path), ()
        self._waves.enlist(wanted)
        self._waves.await_readable(path)

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """Read as the object store does.

        Args:
            path: Store path.
            offset: First byte.
            size: Number of bytes.

        Raises:
            FileNotFoundError: There is no such object.
            StoreReadError: As out of the object store; ``"thaw.expired"`` if the copy vanished
                while it was read, and what the preview raised if the object was not thawed.
        """
        self._refuse_blocked(path)
        try:
            return self._store.read_backup_file(path, offset, size)
        except StoreReadError as error:
            raise self._met(path, error) from error

    def read_backup_file_into(self, path: StorePath, offset: int, buffer: memoryview, /) -> int:
        """Fill ``buffer``; see :meth:`read_backup_file`.

        Args:
            path: Store path.
            offset: First byte.
            buffer: Writable and contiguous.
        """
        self._refuse_blocked(path)
        try:
            return self._store.read_backup_file_into(path, offset, buffer)
        except StoreReadError as error:
            raise self._met(path, error) from error

    def list_containers(self, folder: StorePath, /) -> list[str]:
        """List as the object store does.

        Args:
            folder: Store path of the folder.
        """
        return self._store.list_containers(folder)

    def size_of(self, path: StorePath, /) -> int:
        """Return the bytes of an object; frozen ones have a size, too.

        Args:
            path: Store path.
        """
        return self._store.size_of(path)

    def _refuse_blocked(self, path: StorePath) -> None:
        blocked = None if self._waves is None else self._waves.blocked(path)
        if blocked is not None:
            raise blocked

    def _met(self, path: StorePath, error: StoreReadError) -> StoreReadError:
        """Take notice of an object that is frozen although it was not thought so."""
        if error.code not in _ARCHIVED:
            return error
        with self._lock:
            if self._waves is None:
                return _frozen(path)
            self._survey.look((path,), again=True)
            if self._survey.stage(path) is Stage.READABLE:
                self._survey.turned(path, Stage.FROZEN)
            if not self._waves.expired(path):
                error.retryable = True  # the repair round previews it, and it is thawed
                return error
        return StoreReadError(
            f"the thawed copy of {path} expired while it was read",
            code="thaw.expired",
            container=path,
            retryable=True,
        )


def _frozen(path: StorePath) -> StoreReadError:
    return StoreReadError(
        f"{path} is in an archive tier, and no way to thaw it was chosen",
        code="object.archived",
        container=path,
        retryable=False,
    )
