"""Object storage: stores of objects, and thaws of archived ones with their prices.

This is the public face of these; the rooms behind it may change.
"""

from rehydrate.media.prices import DEFAULT_TABLE, Offer, PriceTable, parse_table
from rehydrate.media.tiers import ThawOptions, ThawPlan, ThawPrice, Wave, thaw_plan, waves
from rehydrate.stores.objects.archive import Archive, ObjectState, S3Archive, Stage
from rehydrate.stores.objects.archives import archive_of
from rehydrate.stores.objects.asking import ThawChoice
from rehydrate.stores.objects.azure import AzureArchive
from rehydrate.stores.objects.client import Access, Fetched, ObjectClient
from rehydrate.stores.objects.link import Link
from rehydrate.stores.objects.quote import Outlook, ThawQuote
from rehydrate.stores.objects.store import ObjectStore, Traffic, versions_of
from rehydrate.stores.objects.survey import Survey
from rehydrate.stores.objects.thawing import ThawingStore

__all__ = [
    "DEFAULT_TABLE",
    "Access",
    "Archive",
    "AzureArchive",
    "Fetched",
    "Link",
    "ObjectClient",
    "ObjectState",
    "ObjectStore",
    "Offer",
    "Outlook",
    "PriceTable",
    "S3Archive",
    "Stage",
    "Survey",
    "ThawChoice",
    "ThawOptions",
    "ThawPlan",
    "ThawPrice",
    "ThawQuote",
    "ThawingStore",
    "Traffic",
    "Wave",
    "archive_of",
    "parse_table",
    "thaw_plan",
    "versions_of",
    "waves",
]
