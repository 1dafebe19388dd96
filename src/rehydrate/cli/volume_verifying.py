"""The work of ``rehydrate verify`` for a Windows volume."""

from rehydrate.cli.volume_source import VolumeSource
from rehydrate.errors import RequestError

__all__ = ["verify_volume"]


def verify_volume(
    source: VolumeSource, version: str | None, *, read_data: bool, jobs: int, as_json: bool
) -> int:
    """Verify the chunk stores of a volume and list what is damaged.

    Args:
        source: The volume.
        version: Number or name of the version; ``None`` = the newest.
        read_data: Also read every record.
        jobs: Threads for that.
        as_json: Print a document instead of text.

    Returns:
        The exit code.
    """
    del read_data, jobs, as_json, version
    raise RequestError(
        f"{source.path} is a Windows volume, and those cannot be verified yet; a restore verifies"
        " every byte that it reads",
        code="request.windows",
    )
