"""From requests to columns: targets checked, stubs grouped by the store that they refer to."""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from rehydrate.errors import RequestError
from rehydrate.formats.detect import FORMATS, StubOwner
from rehydrate.requests import FileMetadata, OwnExtent, RestoreRequest, TargetIdentity
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
        replaces: What must stand at the target, where it matters.
        link_groups: Names of one file, where the stubs do not say so.
    """

    stubs: Sequence[bytes]
    targets: Sequence[bytes]
    sizes: Mapping[int, int]
    metadata: Mapping[int, FileMetadata]
    own_data: Mapping[int, Sequence[OwnExtent]]
    replaces: Mapping[int, TargetIdentity]
    link_groups: Mapping[int, int]


def take_requests(requests: Iterable[RestoreRequest], *, portable_names: bool) -> Requests:
    """Consume the requests once.

    Raises:
        RequestError: Two requests have the same target, or something is no request.
    """
    taken = list(requests)
    for index, request in enumerate(taken):
        if type(request) is not RestoreRequest:
            raise RequestError(f"element {index} is no RestoreRequest")
    targets = [request.target for request in taken]
    found = Requests(
        stubs=[request.stub for request in taken],
        targets=[target if type(target) is bytes else _as_bytes(target) for target in targets],
        sizes={i: request.size for i, request in enumerate(taken) if request.size is not None},
        metadata={
            i: request.metadata for i, request in enumerate(taken) if request.metadata is not None
        },
        own_data={
            i: request.own_data for i, request in enumerate(taken) if request.own_data is not None
        },
        replaces={
            i: request.replaces for i, request in enumerate(taken) if request.replaces is not None
        },
        link_groups={
            i: request.link_group for i, request in enumerate(taken) if request.link_group
        },
    )
    _refuse_same_targets(found.targets, portable_names=portable_names)
    return found


def _as_bytes(target: str | bytes) -> bytes:
    if isinstance(target, bytes):
        return target
    try:
        return target.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Halves of surrogate pairs, as Windows names may hold them.
        return target.encode("utf-8", "surrogatepass")


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
    others = list(range(len(stubs)))
    for form in FORMATS:
        by_key: dict[bytes, list[int]] = {}
        left: list[int] = []
        store_key = form.store_key
        for index in others:
            key = store_key(stubs[index])
            if key is None:
                left.append(index)
            elif key in by_key:
                by_key[key].append(index)
            else:
                by_key[key] = [index]
        groups |= {StubOwner(form.name, key): members for key, members in by_key.items()}
        others = left
    return groups, others
