"""From requests to columns: targets checked, stubs grouped by the store that they refer to."""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from rehydrate.errors import RequestError
from rehydrate.formats.detect import StubOwner, owner_of
from rehydrate.requests import FileMetadata, OwnExtent, RestoreRequest
from rehydrate.staging.paths import collision_key

__all__ = ["Requests", "group_by_store", "take_requests"]


@attrs.frozen(eq=False)
class Requests:
    """The requests of a call as columns.

    Attributes:
        stubs: Stub of each request.
        targets: Target of each request, as given but always bytes.
        sizes: Size of the stub's data stream, where given.
        metadata: Metadata of the request, where given.
        own_data: Own ranges of the stub, where known.
    """

    stubs: Sequence[bytes]
    targets: Sequence[bytes]
    sizes: Mapping[int, int]
    metadata: Mapping[int, FileMetadata]
    own_data: Mapping[int, Sequence[OwnExtent]]


def take_requests(requests: Iterable[RestoreRequest], *, portable_names: bool) -> Requests:
    """Consume the requests once.

    Raises:
        RequestError: Two requests have the same target, or something is no request.
    """
    stubs: list[bytes] = []
    targets: list[bytes] = []
    sizes: dict[int, int] = {}
    metadata: dict[int, FileMetadata] = {}
    own_data: dict[int, Sequence[OwnExtent]] = {}
    for index, request in enumerate(requests):
        if not isinstance(request, RestoreRequest):
            raise RequestError(f"element {index} is no RestoreRequest")
        target = request.target
        if isinstance(target, str):
            target = target.encode("utf-8", "surrogatepass" if _odd(target) else "surrogateescape")
        stubs.append(request.stub)
        targets.append(target)
        if request.size is not None:
            sizes[index] = request.size
        if request.metadata is not None:
            metadata[index] = request.metadata
        if request.own_data is not None:
            own_data[index] = request.own_data
    _refuse_same_targets(targets, portable_names=portable_names)
    return Requests(stubs, targets, sizes, metadata, own_data)


def _odd(text: str) -> bool:
    """Whether a text holds surrogates that no file name of bytes decodes to."""
    return any("\ud800" <= unit <= "\udfff" and not "\udc80" <= unit <= "\udcff" for unit in text)


def _refuse_same_targets(targets: Sequence[bytes], *, portable_names: bool) -> None:
    keys: Sequence[object] = targets
    if portable_names:
        keys = [collision_key(target) for target in targets]
    if len(set(keys)) == len(keys):
        return
    seen: dict[object, int] = {}
    for index, key in enumerate(keys):
        if key in seen:
            raise RequestError(
                f"requests {seen[key]} and {index} have the same target: give each its own",
                code="request.same-target",
                file=targets[index].decode("utf-8", "surrogateescape"),
            )
        seen[key] = index


def group_by_store(stubs: Sequence[bytes]) -> tuple[dict[StubOwner, list[int]], list[int]]:
    """Group requests by format and store.

    Returns:
        The request indexes of each owner, and those that are no stubs at all.
    """
    groups: dict[StubOwner, list[int]] = {}
    others: list[int] = []
    for index, stub in enumerate(stubs):
        owner = owner_of(stub)
        if owner is None:
            others.append(index)
        else:
            groups.setdefault(owner, []).append(index)
    return groups, others
