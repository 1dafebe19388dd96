"""Which service thaws how: the archive calls of a store, chosen by its URL."""

from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from rehydrate.errors import RequestError
from rehydrate.stores.objects.archive import Archive, S3Archive
from rehydrate.stores.objects.azure import AzureArchive
from rehydrate.stores.objects.azure_settings import place_of
from rehydrate.stores.objects.client import Access, scheme_of

__all__ = ["REMARKS", "archive_of", "can_thaw", "refuse_unthawed"]

REMARKS: Final = {
    "azure-archive": "thawed blobs stay in the hot tier and are billed there until they are moved back;"
    " Azure charges besides for blobs that leave the archive tier before 180 days",
}
"""What else a thaw means, by the tier of the price table: facts that a price does not show."""

_PACKAGES: Final = {"s3": ("botocore",), "az": ("azure", "azure.storage", "azure.storage.blob")}


def archive_of(url: str, access: Access | None = None) -> Archive:
    """Return who knows the states of archived objects of a store, and thaws them.

    Args:
        url: The store, such as ``s3://bucket/prefix`` or ``az://container/prefix``.
        access: How to reach the service, as for the store.

    Raises:
        RequestError: With code ``"thaw.service"``: objects of such a store are not thawed.
        StoreReadError: The package for this service is missing.
    """
    refuse_unthawed(url)
    return S3Archive(url, access) if _kind(url) == "s3" else AzureArchive(url, access)


def refuse_unthawed(url: str) -> None:
    """Refuse stores whose objects are not thawed, before anybody is asked.

    Args:
        url: The store.

    Raises:
        RequestError: With code ``"thaw.service"``, or ``"object.url"`` if it names no object store.
    """
    if _kind(url):
        return
    if scheme_of(url) == "gs":
        raise RequestError(
            f"{url} needs no thaw: Google reads objects of its archive class at once, for a fee",
            code="thaw.service",
        )
    raise RequestError(
        f"only objects of s3://bucket/prefix and az://container/prefix can be thawed, not of {url}",
        code="thaw.service",
    )


def can_thaw(url: str) -> bool:
    """Tell whether objects of a store can be thawed here: by its service and the packages at hand.

    Args:
        url: The store.

    Raises:
        RequestError: The URL names no object store.
    """
    # The outer package first: to look for an inner one imports it.
    packages = _PACKAGES.get(_kind(url), ())
    return bool(packages) and all(find_spec(name) is not None for name in packages)


def _kind(url: str) -> str:
    """Return the service that thaws; empty = none does."""
    kind = scheme_of(url)
    if kind == "az" and place_of(url) is not None:
        return kind
    return kind if kind == "s3" and not urlsplit(url).scheme.startswith("http") else ""
