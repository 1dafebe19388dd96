"""Native stores in object storage: opened by URL, thawed where that was asked for, priced."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import attrs

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.cli.archived import explained
from rehydrate.cli.native_source import NativeSource
from rehydrate.cli.sources import RemoteOptions, is_url
from rehydrate.cli.stores import opened_catalogue, over_objects
from rehydrate.cli.thaw_desk import ThawDesk
from rehydrate.errors import RequestError
from rehydrate.media.prices import PriceTable, parse_table
from rehydrate.media.tiers import ThawOptions
from rehydrate.protocols import BackupStore
from rehydrate.stores.objects.archives import REMARKS, archive_of, refuse_unthawed
from rehydrate.stores.objects.asking import ThawChoice
from rehydrate.stores.objects.client import Access, scheme_of
from rehydrate.stores.objects.store import ObjectStore
from rehydrate.stores.objects.thawing import ThawingStore

__all__ = [
    "USUAL_SPEED",
    "access_of",
    "opened_either",
    "opened_objects",
    "table_of",
    "thaw_options",
]

USUAL_SPEED: Final = "standard"
"""What is priced where nobody says how."""
_LARGEST_TABLE: Final = 1 << 20
_YES: Final = frozenset({"1", "true", "yes", "requester"})


def access_of(url: str, endpoint: str | None, environ: Mapping[str, str]) -> Access:
    """Tell how a service is reached: by what the environment says, as its own programs do.

    What is not here (keys, and everything of Azure and Google) obstore takes from the environment
    by itself.

    Args:
        url: The store.
        endpoint: Address of the service, if it was given.
        environ: Variables of the environment.

    Raises:
        RequestError: The URL names no object store.
    """
    if scheme_of(url) != "s3":
        return Access(endpoint=endpoint)
    profile = None if environ.get("AWS_ACCESS_KEY_ID") else environ.get("AWS_PROFILE")
    return Access(
        endpoint=endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL"),
        region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
        anonymous=environ.get("AWS_SKIP_SIGNATURE", "").lower() in _YES,
        requester_pays=environ.get("AWS_REQUEST_PAYER", "").lower() in _YES,
        profile=profile or None,
    )


@contextmanager
def opened_either(
    place: str, endpoint: str | None = None
) -> Iterator[tuple[NativeCatalogue, Path | str]]:
    """Open the catalogue of a native store, and tell a directory from a URL.

    Args:
        place: Directory or URL.
        endpoint: Address of the service; its own, or that of the environment, by default.

    Yields:
        The catalogue, and the directory as a path or the URL as it is.

    Raises:
        RestoreError: There is no such store, or it cannot be read.
    """
    if is_url(place):
        access = access_of(place, endpoint, os.environ)
        store = ObjectStore(place, access=access)
        with _explained(store, access, RemoteOptions()):
            yield over_objects(store, place), place
        return
    with opened_catalogue(Path(place)) as catalogue:
        yield catalogue, Path(place)


@contextmanager
def opened_objects(url: str, options: RemoteOptions) -> Iterator[NativeSource]:
    """Open a store of objects.

    Nothing is thawed while it is opened, and nothing is unless it is said how.

    Args:
        url: Its URL.
        options: How it is read.

    Raises:
        RequestError: The URL or an option is wrong.
        StoreError: There is no such store, a package is missing, or the service refused.
        FormatError: Its configuration is damaged or newer than this release.
    """
    if options.thaw is not None and options.pricing:
        refuse_unthawed(url)
    access = access_of(url, options.endpoint, os.environ)
    store = ObjectStore(url, access=access)
    containers: BackupStore = store
    desk: ThawDesk | None = None
    if options.thaw is None and not options.pricing:
        _refuse_limits(options)
    if options.thaw is not None and not options.pricing:
        if options.job is None:
            raise RequestError("--thaw: only restores thaw; `rehydrate plan` prices it")
        table = table_of(options)
        if options.thaw not in {offer.speed for offer in table.offers}:
            raise _no_speed(options.thaw, table)
        desk = ThawDesk(options.job, table, options.max_cost, REMARKS)
        choice = ThawChoice(
            speed=options.thaw,
            job=options.job,
            options=thaw_options(options),
            table=table,
            approve=desk.approve,
        )
        containers = thawing = ThawingStore(store, archive_of(url, access), choice=choice)
        desk.watch(thawing)
    with _explained(store, access, options):
        yield NativeSource(over_objects(store, url), url, containers, desk)


def _explained(
    store: ObjectStore, access: Access, options: RemoteOptions
) -> AbstractContextManager[None]:
    return explained(
        store,
        access,
        speed=options.thaw or USUAL_SPEED,
        table=table_of(options),
        options=attrs.evolve(thaw_options(options), max_cost=None),
    )


def _refuse_limits(options: RemoteOptions) -> None:
    """Refuse limits of a thaw that there is none of: whoever gives one expects it."""
    limits = {
        "--max-cost": options.max_cost,
        "--thaw-days": options.days,
        "--price-table": options.prices,
    }
    given = [name for name, value in limits.items() if value is not None]
    if given:
        raise RequestError(f"{' and '.join(given)}: nothing is thawed without --thaw TIER")


def table_of(options: RemoteOptions) -> PriceTable:
    """Read the price table.

    Args:
        options: They name the file, if there is one.

    Raises:
        RequestError: The file cannot be read.
        CorruptMetadataError: It is no price table.
    """
    if options.prices is None:
        return parse_table()
    try:
        with options.prices.open("rb") as stream:
            text = stream.read(_LARGEST_TABLE + 1)
    except OSError as error:
        raise RequestError(
            f"cannot read the price table {options.prices}: {error.strerror}"
        ) from error
    return parse_table(text.decode("utf-8", "replace"))


def thaw_options(options: RemoteOptions) -> ThawOptions:
    """Return the choices of a thaw.

    Args:
        options: What was given.
    """
    chosen = ThawOptions(max_cost=options.max_cost)
    return chosen if options.days is None else attrs.evolve(chosen, days=options.days)


def _no_speed(speed: str, table: PriceTable) -> RequestError:
    there = ", ".join(sorted({offer.speed for offer in table.offers if offer.thaws}))
    return RequestError(
        f"--thaw {speed}: the price table knows {there}; `rehydrate plan --thaw TIER` prices each",
        code="thaw.offer",
    )
