"""The choices of a job that more than one part of staging has to know."""

import attrs

from rehydrate.requests import Durability, Overwrite

__all__ = ["Policy"]


@attrs.frozen(kw_only=True)
class Policy:
    """How to stage and publish.

    Attributes:
        durability: What has to be synced before a file is reported.
        overwrite: What may be replaced.
        same_permissions: Also set setuid, setgid, sticky and ``security.*`` attributes.
        sparse: Turn runs of zeros into holes.
        portable_names: Existing 8.3 aliases block a file.
        max_open_files: Most descriptors of files that are being written.
        checkpoint_bytes: Bytes written to a file between two hints for a resume.
    """

    durability: Durability
    overwrite: Overwrite
    same_permissions: bool
    sparse: bool
    portable_names: bool
    max_open_files: int
    checkpoint_bytes: int
