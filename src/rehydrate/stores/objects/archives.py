"""Which service thaws how: the archive calls of a store, chosen by its URL."""

from importlib.util import find_spec

from rehydrate.stores.objects.archive import Archive, S3Archive
from rehydrate.stores.objects.client import Access, scheme_of

__all__ = ["archive_of", "can_thaw"]


def archive_of(url: str, access: Access | None = None) -> Archive:
    """Return who knows the states of archived objects of a store, and thaws them.

    Args:
        url: The store, such as ``s3://bucket/prefix``.
        access: How to reach the service, as for the store.

    Raises:
        RequestError: With code ``"thaw.service"``: objects of such a store are not thawed.
        StoreReadError: The package for this service is missing.
    """
    return S3Archive(url, access)


def can_thaw(url: str) -> bool:
    """Tell whether objects of a store can be thawed here: by its service and the packages at hand.

    Args:
        url: The store.

    Raises:
        RequestError: The URL names no object store.
    """
    return scheme_of(url) == "s3" and find_spec("botocore") is not None
