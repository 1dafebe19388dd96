"""A counterpart of Microsoft's DedupBackupRestore sample: back up and restore a Windows volume.

    python samples/dedup_backup_restore.py -backup        VOLUME BACKUP [PATH ...]
    python samples/dedup_backup_restore.py -restore       BACKUP OUT [PATH ...]
    python samples/dedup_backup_restore.py -restorestub   BACKUP OUT [PATH ...]
    python samples/dedup_backup_restore.py -restoredata   BACKUP OUT [PATH ...]
    python samples/dedup_backup_restore.py -restorefile   BACKUP OUT [PATH ...]
    python samples/dedup_backup_restore.py -restorevolume BACKUP OUT [PATH ...]

VOLUME is a copy of a volume with Data Deduplication: files as they are, stubs with their reparse
data (``NAME.reparse`` beside NAME, or as ntfs-3g shows it), the chunk store below ``System Volume
Information``. BACKUP is a folder in which every file is one Win32 backup stream, the containers of
the chunk store, too. OUT is where files come back. PATH chooses a file or a folder; without any, it
is everything.

-backup         stores every file as BackupRead would give it; stubs stay stubs
-restorestub    brings stubs back, without the data that is in the chunk store
-restoredata    replaces the stubs that stand in OUT by the files that they stand for
-restorefile    does both for single files, at a temporary name until the file is complete
-restore        brings everything back as complete files, all stubs in one call
-restorevolume  brings the volume back as it was: still deduplicated, chunk store included

Without arguments, or with -demo, all of this is done with a small store made for the purpose; that
works in the source tree only, whose tests can make one.

What differs from the original, apart from the language:

* The original deletes the target of a file that failed. Do not: what stands there is the old file,
  or the stub, intact, and the next call goes on from what was staged.
* A temporary name is not needed to be safe: restore_files replaces a target in one step when all
  bytes are verified. -restorefile shows it because callers of the COM interface do it.
* The stub comes from the backup or from the folder, and is handed over as bytes; where the target
  is no NTFS volume there is nothing that could hold it but a file of its own.
* Result codes are those of the COM call, for each file and for all of them.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from importlib import import_module
from io import BufferedWriter
from pathlib import Path

from rehydrate import (
    MAX_OFFSET,
    ContainerExtent,
    FileExtent,
    Overwrite,
    OwnExtent,
    RestoreError,
    RestoreOptions,
    RestoreReport,
    RestoreRequest,
    StoreId,
    StorePath,
    TargetIdentity,
    TargetRoot,
    Volume,
    VolumeEntry,
    restore_files,
)
from rehydrate.windows import (
    DEDUP_TAG,
    EA_DATA,
    REPARSE_DATA,
    SECURITY_DATA,
    BackedUpStore,
    BackupStreamFolder,
    BackupStreamWriter,
    ByteReader,
    FolderCopy,
)

PIECE = 1 << 20
SIDECAR = ".reparse"
SETTINGS = "System Volume Information/Dedup/Settings"


class BackupCallback:
    """What IDedupReadFileCallback is in the original: reads containers out of the backup."""

    def __init__(self, store: BackedUpStore) -> None:
        """Read the containers of one chunk store."""
        self._store = store

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """ReadBackupFile: the data of a container lies at some offset in its backup stream."""
        return self._store.read_backup_file(path, offset, size)

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        """OrderContainersRestore: the first tenth of each container, then the rest of each.

        As in the original, the rest is asked for as "to the end" by a length that would lead far
        behind it. A medium that has two places for a container would answer like this.
        """
        tenths = [self._size_of(path) // 10 for path in containers]
        print(f"order: {len(containers)} containers, a tenth of each, then the rest")
        return [
            *(ContainerExtent(index=i, offset=0, length=tenth) for i, tenth in enumerate(tenths)),
            *(
                ContainerExtent(index=i, offset=tenth, length=MAX_OFFSET)
                for i, tenth in enumerate(tenths)
            ),
        ]

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """PreviewContainerRead: a tape would be wound here; a disk reads ahead."""
        name = path.rpartition("/")[2]
        print(f"preview: {name}, {len(reads)} reads, from {reads[0].offset} to {reads[-1].end}")
        self._store.preview_container_read(path, reads)

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        """Name the containers in a folder, which COM finds out by itself."""
        return self._store.list_containers(folder)

    def _size_of(self, path: StorePath) -> int:
        try:
            return self._store.size_of(path)
        except FileNotFoundError:
            return 0  # the read will say so


def back_up(source: Path, backup: Path, paths: Sequence[str]) -> int:
    """Store every file of a volume as a backup stream."""
    failed = 0
    with closing(FolderCopy(source)) as volume:
        for entry in chosen(volume, paths):
            place = below(backup, entry)
            if entry.directory:
                place.mkdir(parents=True, exist_ok=True)
                continue
            try:
                with new_file(place) as file:
                    write_stream(volume, entry, BackupStreamWriter(file.write))
            except RestoreError as error:
                print(f"{shown(entry)}: not backed up: {error}")
                place.unlink()
                failed = 1
        for found in volume.chunk_stores():
            with volume.store(found.store) as store:
                for container in found.files:
                    with new_file(backup / container.path) as file:
                        read = partial(store.read_backup_file, container.path)
                        BackupStreamWriter(file.write).data(container.size, read)
        for name, content in volume.settings().items():
            with new_file(backup / SETTINGS / name) as file:
                BackupStreamWriter(file.write).data(len(content), reader(content))
        return max(failed, tell(volume))


def write_stream(volume: FolderCopy, entry: VolumeEntry, writer: BackupStreamWriter) -> None:
    """Write what BackupRead gives for a file, in its order."""
    security, attributes = volume.security(entry), volume.extended_attributes(entry)
    if security is not None:
        writer.part(SECURITY_DATA, security)
    if attributes is not None:
        writer.part(EA_DATA, attributes)
    ranges = volume.own_ranges(entry)
    if entry.reparse_tag:
        writer.part(REPARSE_DATA, volume.reparse_data(entry))
    if not entry.reparse_tag or ranges is not None:
        writer.data(entry.size, partial(volume.read, entry), ranges=ranges)
    else:  # a stream that is not there says "not known"; BackupRead on Windows always knows
        print(f"{shown(entry)}: it is not known what of the stub's own data is newer")
    for stream in entry.streams:
        read = partial(volume.read, entry, stream=stream.name)
        writer.data(stream.size, read, name=stream.name)


def restore(backup: Path, out: Path, paths: Sequence[str]) -> int:
    """Bring back complete files; all stubs in one call, which COM limits to 10,000."""
    requests: list[RestoreRequest] = []
    with closing(BackupStreamFolder(backup)) as volume, TargetRoot(out) as target:
        for entry in chosen(volume, paths):
            if entry.reparse_tag == DEDUP_TAG:
                requests.append(request(volume, entry))
            else:
                put_plain(volume, entry, out)
        options = RestoreOptions(overwrite=Overwrite.ALWAYS)
        report = restore_files(requests, callbacks(volume), target, options=options)
        return max(show(report), tell(volume))


def restore_stubs(backup: Path, out: Path, paths: Sequence[str]) -> int:
    """Bring back stubs: small, and of no use until their data comes."""
    with closing(BackupStreamFolder(backup)) as volume:
        for entry in chosen(volume, paths):
            if entry.reparse_tag == DEDUP_TAG:
                put_stub(volume, entry, below(out, entry))
                print(f"{shown(entry)}: stub")
        return tell(volume)


def restore_data(backup: Path, out: Path, paths: Sequence[str]) -> int:
    """Replace stubs that stand in OUT; their own data, newer than the chunk store, is kept."""
    with closing(BackupStreamFolder(backup)) as volume:
        return show(fill_stubs(volume, out, paths))


def fill_stubs(volume: BackupStreamFolder, out: Path, paths: Sequence[str]) -> RestoreReport:
    """Call RestoreFiles for stubs that stand in a folder."""
    with closing(FolderCopy(out)) as standing, TargetRoot(out) as target:
        found = [entry for entry in chosen(standing, paths) if entry.reparse_tag == DEDUP_TAG]
        report = restore_files(
            [request(standing, entry, below(out, entry)) for entry in found],
            callbacks(volume),
            target,
            options=RestoreOptions(overwrite=Overwrite.ALWAYS),
        )
        for entry, result in zip(found, report.results, strict=True):
            if result.ok:  # of a failed file neither stub nor anything else is deleted
                sidecar_of(below(out, entry)).unlink()
        return report


def restore_single_files(backup: Path, out: Path, paths: Sequence[str]) -> int:
    """Bring back single files: stub at a temporary name, then data, then the real name."""
    waiting: dict[str, Path] = {}
    with closing(BackupStreamFolder(backup)) as volume:
        for entry in chosen(volume, paths):
            if entry.reparse_tag != DEDUP_TAG:
                put_plain(volume, entry, out)
                continue
            place = below(out, entry)
            temporary = place.with_name(f".{place.name}.restoring")
            put_stub(volume, entry, temporary)
            waiting[temporary.relative_to(out).as_posix()] = place
        if not waiting:
            return tell(volume)
        report = fill_stubs(volume, out, list(waiting))
        for result in report.results:
            if result.ok:
                (out / result.target).replace(waiting[result.target])
            else:  # what stood at the real name is untouched, and -restoredata can try again
                print(f"{result.target}: left as a stub")
        return show(report)


def restore_volume(backup: Path, out: Path, paths: Sequence[str]) -> int:
    """Bring the volume back as it was, without RestoreFiles: stubs, chunk store and all."""
    with closing(BackupStreamFolder(backup)) as volume:
        for entry in chosen(volume, paths):
            if entry.reparse_tag:
                put_stub(volume, entry, below(out, entry))
            else:
                put_plain(volume, entry, out)
        for found in volume.chunk_stores():
            with volume.store(found.store) as store:
                for container in found.files:
                    read = partial(store.read_backup_file, container.path)
                    whole = (FileExtent(0, container.size),)
                    put_file(out / container.path, container.size, whole, read)
        for name, content in volume.settings().items():
            whole = (FileExtent(0, len(content)),)
            put_file(out / SETTINGS / name, len(content), whole, reader(content))
        return tell(volume)


def chosen(volume: Volume, paths: Sequence[str]) -> Iterator[VolumeEntry]:
    """Iterate the entries that the command line means."""
    return volume.entries([os.fsencode(path) for path in paths])


def callbacks(volume: BackupStreamFolder) -> dict[StoreId, BackupCallback]:
    """Return a callback for each chunk store; stubs name theirs."""
    found = [store.store for store in volume.chunk_stores()]
    return {identity: BackupCallback(volume.store(identity)) for identity in found}


def request(volume: Volume, entry: VolumeEntry, standing: Path | None = None) -> RestoreRequest:
    """Say what is to be restored, and what of it the stub itself holds."""
    ranges = volume.own_ranges(entry)
    read = partial(volume.read, entry)
    there = standing is not None and standing.exists()
    return RestoreRequest(
        volume.reparse_data(entry),
        entry.path,
        size=entry.size or None,
        own_data=None if ranges is None else [OwnExtent(extent, read) for extent in ranges],
        replaces=TargetIdentity.of(standing.lstat()) if standing and there else None,
    )


def put_plain(volume: Volume, entry: VolumeEntry, out: Path) -> None:
    """Bring back what is no stub. BackupWrite would bring its security and streams back, too."""
    place = below(out, entry)
    if entry.directory:
        place.mkdir(parents=True, exist_ok=True)
    elif entry.reparse_tag:
        print(f"{shown(entry)}: another reparse point, left out")
    else:
        put_file(place, entry.size, volume.own_ranges(entry) or (), partial(volume.read, entry))


def put_stub(volume: Volume, entry: VolumeEntry, place: Path) -> None:
    """Bring back a stub; on Windows its reparse data would be set by FSCTL_SET_REPARSE_POINT."""
    reparse_data = volume.reparse_data(entry)
    whole = (FileExtent(0, len(reparse_data)),)
    put_file(sidecar_of(place), len(reparse_data), whole, reader(reparse_data))
    ranges = volume.own_ranges(entry)
    if ranges is not None:
        put_file(place, entry.size, ranges, partial(volume.read, entry))


def put_file(place: Path, size: int, ranges: Sequence[FileExtent], read: ByteReader) -> None:
    """Write a file under another name, holes left out, and rename it when it is complete."""
    part = place.with_name(f"{place.name}.part")
    with new_file(part) as file:
        for extent in ranges:
            file.seek(extent.offset)
            for offset in range(extent.offset, extent.end, PIECE):
                file.write(read(offset, min(PIECE, extent.end - offset)))
        file.truncate(size)
    part.replace(place)


def new_file(place: Path) -> BufferedWriter:
    """Open a file for writing, its folder made if it is missing."""
    place.parent.mkdir(parents=True, exist_ok=True)
    return place.open("wb")


def below(folder: Path, entry: VolumeEntry) -> Path:
    """Return where an entry is in a folder."""
    return folder / os.fsdecode(entry.path)


def shown(entry: VolumeEntry) -> str:
    """Return the path of an entry for people."""
    return entry.path.decode(errors="backslashreplace")


def sidecar_of(place: Path) -> Path:
    """Return the file that holds the reparse data of a stub."""
    return place.with_name(place.name + SIDECAR)


def reader(content: bytes) -> ByteReader:
    """Return a reader of bytes in memory."""
    return lambda offset, size: content[offset : offset + size]


def tell(volume: Volume) -> int:
    """Print what could not be read; return 1 if there was anything."""
    for remark in volume.remarks:
        print(f"remark: {remark}")
    for problem in volume.problems:
        print(f"problem: {problem}")
    return int(bool(volume.problems))


def show(report: RestoreReport) -> int:
    """Print what the COM call gives back; return 1 unless all went well."""
    for result in report.results:
        code = 0 if result.error is None else result.error.hresult
        print(f"{result.target}: {result.status.name}, 0x{code:08X} {result.error or ''}".rstrip())
    print(f"RestoreFiles: 0x{report.hresult:08X}")
    return int(not report.ok)


def demo(folder: Path) -> int:
    """Do all actions with a small volume; needs the source tree, whose tests can make one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / "tests" / "windows_store").is_dir():
        print("-demo needs the source tree of rehydrate; all other actions do not, see -help")
        return 2
    sys.path.insert(0, str(root))
    volumes = import_module("tests.windows_store.volume")
    store = import_module("tests.windows_store.store").WindowsStore()
    contents: dict[str, bytes] = {"plain.txt": b"not deduplicated"}
    tree = [volumes.Entry("plain.txt", data=contents["plain.txt"])]
    for form in ("1.2", "2.1", "3.1"):
        file = store.add_file(os.urandom(200_000), stub=form)
        if form == "2.1":
            file = file.recalled({70_000: b"written after the optimization"})
        contents[f"Docs/{form}.bin"] = file.data
        tree.append(volumes.Entry(f"Docs/{form}.bin", file=file))
    volumes.folder_copy(folder / "volume", tree, store)
    steps = [
        ("-backup", "volume", "backup", []),
        ("-restore", "backup", "complete", []),
        ("-restorestub", "backup", "in place", ["Docs"]),
        ("-restoredata", "backup", "in place", ["Docs"]),
        ("-restorefile", "backup", "single", ["Docs/2.1.bin", "plain.txt"]),
        ("-restorevolume", "backup", "as it was", []),
        ("-backup", "as it was", "second backup", []),
        ("-restore", "second backup", "last", []),
    ]
    for action, source, target, paths in steps:
        print(f"\n{action} {source!r} {target!r} {' '.join(paths)}".rstrip())
        if main([action, str(folder / source), str(folder / target), *paths]):
            return 1
    for target, paths in {
        "complete": list(contents),
        "in place": list(contents)[1:],
        "single": ["Docs/2.1.bin", "plain.txt"],
        "last": list(contents),
    }.items():
        for path in paths:
            if (folder / target / path).read_bytes() != contents[path]:
                sys.exit(f"{path} in {target!r} is wrong")
    return 0


ACTIONS = {
    "-backup": back_up,
    "-restore": restore,
    "-restorestub": restore_stubs,
    "-restoredata": restore_data,
    "-restorefile": restore_single_files,
    "-restorevolume": restore_volume,
}


def main(arguments: Sequence[str]) -> int:
    """Run the action of a command line: 0 = all went well, 1 = not all, 2 = no such action."""
    match arguments:
        case [] | ["-demo"]:
            with tempfile.TemporaryDirectory() as scratch:
                return demo(Path(scratch))
        case [action, source, target, *paths] if action in ACTIONS:
            try:
                return ACTIONS[action](Path(source), Path(target), paths)
            except RestoreError as error:
                print(f"0x{error.hresult:08X} {error}")
                return 1
        case _:
            print(__doc__)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
