from rehydrate.engine.restore import (
    plan_restore as plan_restore,
    restore_files as restore_files,
)
from rehydrate.errors import (
    Cancelled as Cancelled,
    ChunkMismatchError as ChunkMismatchError,
    ContainerNotFoundError as ContainerNotFoundError,
    CorruptMetadataError as CorruptMetadataError,
    DurabilityError as DurabilityError,
    FormatError as FormatError,
    LimitError as LimitError,
    NoSpaceError as NoSpaceError,
    NotReadyError as NotReadyError,
    PublishError as PublishError,
    RequestError as RequestError,
    RestoreError as RestoreError,
    SessionBusyError as SessionBusyError,
    SessionError as SessionError,
    ShortReadError as ShortReadError,
    StagingError as StagingError,
    StoreContractError as StoreContractError,
    StoreError as StoreError,
    StoreLockedError as StoreLockedError,
    StoreReadError as StoreReadError,
    StoreTimeoutError as StoreTimeoutError,
    TargetChangedError as TargetChangedError,
    UnsafeTargetError as UnsafeTargetError,
    UnsupportedFormatError as UnsupportedFormatError,
)
from rehydrate.plan.read_plan import (
    PlannedContainer as PlannedContainer,
    PlannedExtent as PlannedExtent,
    PlannedRound as PlannedRound,
    ReadPlan as ReadPlan,
)
from rehydrate.protocols import (
    BackupStore as BackupStore,
    Catalogue as Catalogue,
    CatalogueEntry as CatalogueEntry,
    DeclaresConcurrency as DeclaresConcurrency,
    DeclaresReadHints as DeclaresReadHints,
    DeclaresStore as DeclaresStore,
    DeclaresTimeouts as DeclaresTimeouts,
    ListsContainers as ListsContainers,
    OrdersContainers as OrdersContainers,
    PreviewsReads as PreviewsReads,
    ReadsInto as ReadsInto,
    RestoreObserver as RestoreObserver,
    VersionInfo as VersionInfo,
)
from rehydrate.requests import (
    CancelToken as CancelToken,
    Durability as Durability,
    FileMetadata as FileMetadata,
    Links as Links,
    Overwrite as Overwrite,
    OwnExtent as OwnExtent,
    Recall as Recall,
    RestoreOptions as RestoreOptions,
    RestoreRequest as RestoreRequest,
)
from rehydrate.results import (
    AtTarget as AtTarget,
    FileFinished as FileFinished,
    FileResult as FileResult,
    FileStatus as FileStatus,
    JobStarted as JobStarted,
    Notice as Notice,
    Progress as Progress,
    ReadCounters as ReadCounters,
    RestoreEvent as RestoreEvent,
    RestoreReport as RestoreReport,
    RoundStarted as RoundStarted,
)
from rehydrate.staging.root import (
    TargetRoot as TargetRoot,
)
from rehydrate.stores.directory import (
    DirectoryStore as DirectoryStore,
)
from rehydrate.values import (
    ContainerExtent as ContainerExtent,
    FileExtent as FileExtent,
    MAX_OFFSET as MAX_OFFSET,
    ReadableBuffer as ReadableBuffer,
    StoreId as StoreId,
    StorePath as StorePath,
    as_windows as as_windows,
)
