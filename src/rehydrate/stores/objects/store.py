"""Objects as containers: one request for each read, many in flight, each object read as one version.

The engine joins and splits reads by the declared gap and size and keeps ``concurrent_reads`` of them
in flight; nothing is cached here. The first answer of an object fixes its entity tag: a later one
that differs is an error, since bytes of two versions must not be mixed.
"""

import json
import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError
from rehydrate.stores.objects.client import Access, ObjectClient, open_client, scheme_of
from rehydrate.stores.objects.link import LINKS, Link, measure
from rehydrate.stores.objects.problems import ServiceAnswer, problem_of
from rehydrate.values import ReadableBuffer, StorePath

__all__ = ["ObjectStore", "Traffic", "versions_of"]

_READ_TIMEOUT: Final = 300.0


@attrs.frozen
class Traffic:
    """What was asked of the service so far, reads only.

    Attributes:
        requests: Range requests (repetitions inside the client not counted).
        received: Bytes that came.
    """

    requests: int = 0
    received: int = 0


class ObjectStore:
    """Reads containers that are objects below one prefix of a bucket, account or folder.

    Implements :class:`~rehydrate.protocols.BackupStore` with ``read_backup_file_into`` and
    ``list_containers``, and declares concurrency, time limits and read hints. All methods may be
    called from several threads. Names of objects are compared exactly.
    """

    def __init__(
        self,
        place: str | ObjectClient,
        *,
        access: Access | None = None,
        link: Link | None = None,
        versions: Mapping[StorePath, str] | None = None,
    ) -> None:
        """Bind; the service is not asked yet.

        Args:
            place: URL of the folder that store paths are relative to, such as
                ``s3://bucket/prefix``, or a client for it.
            access: How to reach the service; its own address and the credentials of the
                environment by default. Not used with a client.
            link: Latency, bandwidth and connections; assumed by the kind of service by default.
            versions: Version of an object by store path, such as
                :func:`~rehydrate.objects.versions_of` reads; the newest of all others is read.

        Raises:
            RequestError: The URL or a setting is wrong.
            StoreReadError: The package obstore is missing.
        """
        if isinstance(place, str):
            self.url = place
            self._client = open_client(place, access or Access())
            self._link = link or LINKS[scheme_of(place)]
        else:
            self.url = "client://"
            self._client = place
            self._link = link or LINKS["memory"]
        self._versions = dict(versions or {})
        self._tags: dict[StorePath, str] = {}
        self._listed: dict[StorePath, Mapping[str, int]] = {}
        self._lock = threading.Lock()
        self._traffic = Traffic()

    @property
    def link(self) -> Link:
        """The link as assumed, given or measured."""
        return self._link

    @property
    def concurrent_reads(self) -> int:
        """Requests in flight at once."""
        return self._link.connections

    @property
    def max_gap(self) -> int:
        """Unneeded bytes that are cheaper to read than to skip: latency times bandwidth."""
        return self._link.max_gap

    @property
    def max_read(self) -> int:
        """Bytes of a request at most."""
        return self._link.max_read

    @property
    def read_timeout(self) -> float:
        """Seconds for one read, repetitions of the client included."""
        return _READ_TIMEOUT

    @property
    def traffic(self) -> Traffic:
        """Requests and bytes so far."""
        return self._traffic

    def version_of(self, path: StorePath, /) -> str | None:
        """Return the version of an object that is read, ``None`` for the newest.

        Args:
            path: Store path.
        """
        return self._versions.get(path)

    def measure(self, path: StorePath, /) -> Link:
        """Measure the link with a few requests on one object, and use the figures from now on.

        Args:
            path: An object of some MiB; at most 4 MiB of it are read.

        Returns:
            The link.

        Raises:
            RequestError: The object is empty.
            StoreError: It cannot be read.
        """
        self._link = measure(
            lambda offset, length: self.read_backup_file(path, offset, length),
            self.size_of(path),
            connections=self._link.connections,
        )
        return self._link

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """Return up to ``size`` bytes by one request; fewer only where the object ends.

        Args:
            path: Store path, below the prefix.
            offset: First byte.
            size: Number of bytes.

        Raises:
            FileNotFoundError: There is no such object (or version).
            StoreReadError: The service refused; ``code`` says why, such as ``"object.archived"``,
                ``"object.denied"``, ``"object.kms"``, ``"object.requester-pays"``,
                ``"object.changed"`` or ``"object.throttled"``.
        """
        version, tag = self._versions.get(path), self._tags.get(path, "")
        found = self._client.fetch(path, offset, size, version=version, tag=tag)
        with self._lock:
            known = self._tags.setdefault(path, found.tag) if found.tag else ""
            self._traffic = Traffic(
                self._traffic.requests + 1, self._traffic.received + memoryview(found.data).nbytes
            )
        if known != found.tag:  # two first reads at once saw two objects
            raise problem_of(ServiceAnswer(HTTPStatus.PRECONDITION_FAILED), path)
        return found.data

    def read_backup_file_into(self, path: StorePath, offset: int, buffer: memoryview, /) -> int:
        """Fill ``buffer``; see :meth:`read_backup_file`.

        Args:
            path: Store path.
            offset: First byte.
            buffer: Writable and contiguous.

        Returns:
            Bytes put in; fewer than all only where the object ends.
        """
        data = memoryview(self.read_backup_file(path, offset, len(buffer)))
        count = min(data.nbytes, len(buffer))
        buffer[:count] = data[:count]
        return count

    def list_containers(self, folder: StorePath, /) -> list[str]:
        """Return the names of the objects in a folder, sorted; empty if there are none.

        Their sizes come along, so that :meth:`size_of` need not ask for each.

        Args:
            folder: Store path of the folder.
        """
        found = self._client.sizes(folder)
        with self._lock:
            self._listed[folder] = found
        return list(found)

    def size_of(self, path: StorePath, /) -> int:
        """Return the bytes of an object: as last listed, or else by one request.

        Args:
            path: Store path.

        Raises:
            FileNotFoundError: There is no such object.
            StoreReadError: As in :meth:`read_backup_file`.
        """
        version = self._versions.get(path)
        folder, _, name = path.rpartition("/")
        if version is None:
            with self._lock:
                known = self._listed.get(StorePath(folder), {}).get(name)
            if known is not None:
                return known
        return self._client.size(path, version=version)


def versions_of(text: str) -> dict[StorePath, str]:
    """Return the versions of a manifest.

    Args:
        text: A JSON object of version ids by store path.

    Raises:
        CorruptMetadataError: It is something else.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptMetadataError(f"the manifest of versions is no JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CorruptMetadataError("a manifest of versions has a version id for each path")
    return {StorePath(path): version for path, version in found.items()}
