"""Puts the parts of staging together for one job."""

import functools

import attrs

from rehydrate.ports import Clock, Files
from rehydrate.staging.batch import Publisher
from rehydrate.staging.directories import Directories
from rehydrate.staging.examine import Examiner
from rehydrate.staging.homes import Homes
from rehydrate.staging.links import Linker
from rehydrate.staging.metadata import MetadataWriter
from rehydrate.staging.pieces import Pieces
from rehydrate.staging.policy import Policy
from rehydrate.staging.resume import Resume
from rehydrate.staging.root import Parents, TargetRoot
from rehydrate.staging.staged import StagedFiles
from rehydrate.staging.table import FileTable
from rehydrate.staging.workspace import Identity, Workspace

__all__ = ["Parts", "assemble"]


@attrs.frozen(eq=False, kw_only=True)
class Parts:
    """The parts of one job; each says itself what it does."""

    identity: Identity
    metadata: MetadataWriter
    homes: Homes
    parents: Parents
    staged: StagedFiles
    pieces: Pieces
    publisher: Publisher
    examiner: Examiner
    resume: Resume
    linker: Linker
    directories: Directories


def assemble(
    root: TargetRoot,
    job: str,
    table: FileTable,
    *,
    workspace: Workspace,
    policy: Policy,
    files: Files,
    clock: Clock,
) -> Parts:
    """Make all parts of a job.

    Args:
        root: The target root.
        job: Name of the job.
        table: Its files.
        workspace: Its workspace at the root.
        policy: Its choices.
        files: The file-system calls.
        clock: Tells the age of a batch.

    Raises:
        OSError: No file can be made in the workspace.
    """
    identity = workspace.probe()
    metadata = MetadataWriter(files, identity, same_permissions=policy.same_permissions)
    homes = Homes(root, job, workspace, files)
    parents = Parents(root, files, functools.partial(workspace.note, b"M"))
    staged, pieces = _writers(table, workspace, metadata, identity, policy=policy, files=files)
    publisher = Publisher(
        table=table,
        staged=staged,
        large=pieces.large,
        parents=parents,
        workspace=workspace,
        policy=policy,
        files=files,
        clock=clock,
    )
    examiner = Examiner(
        table=table, staged=staged, parents=parents, homes=homes, policy=policy, files=files
    )
    linker = Linker(
        table=table,
        staged=staged,
        parents=parents,
        homes=homes,
        metadata=metadata,
        policy=policy,
        files=files,
    )
    directories = Directories(
        root=root,
        parents=parents,
        homes=homes,
        metadata=metadata,
        publisher=publisher,
        policy=policy,
        files=files,
    )
    homes.reopen(parents)
    return Parts(
        identity=identity,
        metadata=metadata,
        homes=homes,
        parents=parents,
        staged=staged,
        pieces=pieces,
        publisher=publisher,
        examiner=examiner,
        resume=Resume(table=table, staged=staged, pieces=pieces, homes=homes, files=files),
        linker=linker,
        directories=directories,
    )


def _writers(
    table: FileTable,
    workspace: Workspace,
    metadata: MetadataWriter,
    identity: Identity,
    *,
    policy: Policy,
    files: Files,
) -> tuple[StagedFiles, Pieces]:
    staged = StagedFiles(
        table=table,
        workspace=workspace,
        metadata=metadata,
        identity=identity,
        policy=policy,
        files=files,
    )
    return staged, Pieces(table=table, staged=staged, policy=policy, files=files)
