"""Records that are right at their place, and that the walk over their container did not come by.

They lie behind the valid data length, or inside what a header with a right checksum calls its
payload. A restore finds them, as it goes where the reference, or a redirection table, says.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from rehydrate.catalogue.windows_blame import Reference, spots_of
from rehydrate.catalogue.windows_damage import Finding
from rehydrate.catalogue.windows_heads import ContainerPlace, PatientReader
from rehydrate.catalogue.windows_tables import (
    BY_CHECKSUM,
    BY_DIGEST,
    FOLDERS,
    RECORD_DTYPE,
    STREAM_FOLDER,
)
from rehydrate.catalogue.windows_walks import Seen
from rehydrate.chunks import Rows
from rehydrate.errors import FormatError, StoreError
from rehydrate.formats.windows.layout import KIND_DATA, KIND_STREAM
from rehydrate.formats.windows.record import WindowsDecoder
from rehydrate.protocols import BackupStore

__all__ = ["hidden_records"]


def hidden_records(store: BackupStore, seen: Sequence[Seen], wanted: Rows) -> Iterator[Rows]:
    """Look for lost records right at their places.

    Args:
        store: The store.
        seen: The containers of one folder; what is found is told in their findings.
        wanted: References (:data:`~rehydrate.catalogue.windows_tables.WANTED_DTYPE`).

    Yields:
        One row (:data:`~rehydrate.catalogue.windows_tables.RECORD_DTYPE`) for each one found.
    """
    by_container: dict[int, list[Seen]] = {}
    for one in seen:
        by_container.setdefault(one.place.container, []).append(one)
    told: set[tuple[int, int]] = set()
    for row in wanted:
        ref = Reference.of(row)
        for one in by_container.get(ref.container, ()):
            spot = next((s for s in spots_of(one, ref) if _is_hidden(store, one, s, ref)), None)
            if spot is not None and (one.place.number, spot) not in told:
                told.add((one.place.number, spot))
                one.findings.append(_finding(one.place, spot, ref))
                yield _row(one.place, spot, ref)


def _is_hidden(store: BackupStore, seen: Seen, spot: int, ref: Reference) -> bool:
    offsets = seen.records["offset"]
    at = int(np.searchsorted(offsets, spot))
    if spot + ref.length > seen.place.size or (at < len(offsets) and int(offsets[at]) == spot):
        return False
    try:
        record = PatientReader(store, seen.place).read(spot, ref.length)
        WindowsDecoder(FOLDERS[seen.place.folder]).decode(
            memoryview(record), ref.local_id, ref.size, ref.digest
        )
    except (FormatError, StoreError):
        return False
    return True


def _finding(place: ContainerPlace, spot: int, ref: Reference) -> Finding:
    return Finding(
        check="record.hidden",
        container=place.path,
        offset=spot,
        length=ref.length,
        local_id=ref.local_id,
    )


def _row(place: ContainerPlace, spot: int, ref: Reference) -> Rows:
    row: Rows = np.zeros(1, RECORD_DTYPE)
    stream = place.folder == STREAM_FOLDER
    row["folder"], row["place"], row["container"] = place.folder, place.number, place.container
    row["state"] = BY_CHECKSUM if stream else BY_DIGEST
    row["kind"] = KIND_STREAM if stream else KIND_DATA
    row["local_id"], row["offset"], row["length"] = ref.local_id, spot, ref.length
    row["logical"] = ref.size
    row["digest"] = np.frombuffer(ref.digest, "V32")
    return row
