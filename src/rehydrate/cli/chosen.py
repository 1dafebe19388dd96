"""What the user wants of a store: from arguments and lists to the paths and stubs of one version."""

import os
import re
import stat
import sys
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self

import attrs

from rehydrate.catalogue.casing import slashed
from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.catalogue.selection import Fold, Selection, split_list
from rehydrate.cli.output import Json, shown
from rehydrate.cli.stores import pick_version
from rehydrate.errors import RequestError
from rehydrate.formats.native.catalogue import tree_key
from rehydrate.requests import RestoreRequest
from rehydrate.staging.paths import WORKSPACE_PREFIX

__all__ = [
    "Chosen",
    "Wanted",
    "choose",
    "missing_above",
    "nothing_matches",
    "numbered",
    "path_forms",
    "unmatched_of",
]

_MAGIC: Final = re.compile(r"[*?\[]")
_PRIVATE: Final = 0o700


@attrs.frozen(kw_only=True)
class Wanted:
    """What was asked for.

    Attributes:
        patterns: Paths and patterns of the command line.
        paths: Exact paths of a list; ``None`` = no list was given.
        excludes: Patterns of what to leave out.
        version: Number or name of the version; ``None`` = the newest.
    """

    patterns: tuple[str, ...] = ()
    paths: tuple[bytes, ...] | None = None
    excludes: tuple[str, ...] = ()
    version: int | str | None = None

    @classmethod
    def of(
        cls,
        patterns: Iterable[str] | None,
        files_from: Path | None,
        excludes: Iterable[str] | None,
        version: str | None,
        *,
        null: bool,
    ) -> Self:
        """Read the list, if one is given.

        Args:
            patterns: Arguments.
            files_from: File with a list; ``-`` = standard input.
            excludes: Patterns to leave out.
            version: Number or name of the version.
            null: Paths of the list end with a zero byte.

        Raises:
            RequestError: The list cannot be read.
        """
        paths = None if files_from is None else _read_list(files_from, null=null)
        return cls(
            patterns=tuple(patterns or ()),
            paths=paths,
            excludes=tuple(excludes or ()),
            version=numbered(version),
        )

    def as_record(self) -> dict[str, Json]:
        """Return the same for JSON."""
        return {
            "store_version": self.version,
            "patterns": list(self.patterns),
            "paths": None if self.paths is None else [os.fsdecode(path) for path in self.paths],
            "excludes": list(self.excludes),
        }

    @property
    def nothing(self) -> bool:
        """Whether a list was given that is empty, and nothing else: that is not everything."""
        return self.paths == () and not self.patterns

    def selection(self, *, windows: bool = False, fold: Fold | None = None) -> Selection:
        """Return the compiled choice.

        Args:
            windows: Paths may be written as on Windows, with backslashes and a drive.
            fold: How names are compared.

        Raises:
            RequestError: A pattern is empty or leads outside.
        """
        forms = _windows_forms if windows else _forms
        exact = path_forms if windows else _as_it_is
        return Selection.of(
            [form for pattern in self.patterns for form in forms(pattern)],
            excludes=[form for pattern in self.excludes for form in forms(pattern)],
            paths=[form for path in self.paths or () for form in exact(path)],
            fold=fold,
        )


def numbered(version: str | None) -> int | str | None:
    """Return a version as a number, if it is one."""
    return int(version) if version is not None and version.isdecimal() else version


@attrs.frozen(eq=False)
class Chosen:
    """Entries of one version.

    Attributes:
        version: Its number.
        paths: Paths in tree order.
        stubs: Their stubs.
        unmatched: Patterns and paths that match nothing.
    """

    version: int
    paths: Sequence[bytes]
    stubs: Sequence[bytes]
    unmatched: tuple[str, ...]

    def requests(self, _metadata: str | None = None, /) -> list[RestoreRequest]:
        """Return one request for each entry; a native stub holds no data of its own."""
        return [
            RestoreRequest(stub, path) for path, stub in zip(self.paths, self.stubs, strict=True)
        ]


def choose(catalogue: NativeCatalogue, wanted: Wanted, *, out: Path | None = None) -> Chosen:
    """Find the entries that are wanted.

    Args:
        catalogue: The store.
        wanted: What was asked for.
        out: Where they go: directories on the way that are not there come along, so that they get
            their recorded mode and time. ``None`` = only what was asked for.

    Raises:
        RequestError: There is no such version, or nothing matches.
    """
    version = pick_version(catalogue, wanted.version)
    if wanted.nothing:
        return Chosen(version, [], [], ())
    selection = wanted.selection()
    paths, stubs = catalogue.stubs(version, selection.prefixes)
    found = selection.choose(paths)
    indexes = found.indexes.tolist()
    unmatched = unmatched_of(wanted, found.unmatched)
    if not indexes and (unmatched or wanted.excludes):
        raise nothing_matches(version, unmatched)
    if len(indexes) == len(paths) and not selection.prefixes:
        return Chosen(version, paths, stubs, unmatched)
    chosen_paths = [paths[index] for index in indexes]
    chosen_stubs = [stubs[index] for index in indexes]
    if out is not None:
        above = missing_above(chosen_paths, out)
        found_stubs = _stubs_of(catalogue, version, above, paths, stubs)
        chosen_paths = [*found_stubs, *chosen_paths]
        chosen_stubs = [*found_stubs.values(), *chosen_stubs]
    return Chosen(version, chosen_paths, chosen_stubs, unmatched)


def nothing_matches(version: int, unmatched: Sequence[str]) -> RequestError:
    """Return the error that says so.

    Args:
        version: Number of the version.
        unmatched: What was asked for.
    """
    what = ", ".join(map(repr, map(shown, unmatched[:3]))) or "what is not left out"
    return RequestError(
        f"nothing in version {version} matches {what}; `rehydrate ls` lists what is there",
        code="request.no-match",
    )


def missing_above(chosen: Sequence[bytes], out: Path) -> list[bytes]:
    """Return the directories above the chosen entries that are not at the target, parents first."""
    known = set(chosen)
    above: set[bytes] = set()
    for path in chosen:
        parent = path.rpartition(b"/")[0]
        while parent and parent not in known:
            known.add(parent)
            above.add(parent)
            parent = parent.rpartition(b"/")[0]
    root = os.fsencode(out)
    resumed = _has_workspace(out)
    return sorted(path for path in above if not _stands(root + b"/" + path, resumed=resumed))


def _has_workspace(out: Path) -> bool:
    prefix = os.fsdecode(WORKSPACE_PREFIX)
    try:
        return any(path.name.startswith(prefix) for path in out.iterdir())
    except OSError:
        return False


def _stands(path: bytes, *, resumed: bool) -> bool:
    """Tell whether a directory was there before us: an interrupted restore leaves its own private."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return not (resumed and stat.S_IMODE(mode) == _PRIVATE)


def _stubs_of(
    catalogue: NativeCatalogue,
    version: int,
    wanted: Sequence[bytes],
    paths: Sequence[bytes],
    stubs: Sequence[bytes],
) -> dict[bytes, bytes]:
    """Return the stubs of some directories, from what was read already or one by one."""
    missing = set(wanted)
    found = {path: stub for path, stub in zip(paths, stubs, strict=True) if path in missing}
    missing.difference_update(found)
    manifest = catalogue.manifest(version)
    firsts = [tree_key(path) for path in manifest.first_paths] if missing else []
    for number in sorted({max(bisect_right(firsts, tree_key(path)) - 1, 0) for path in missing}):
        inside = zip(*catalogue.segment(manifest.segments[number]), strict=True)
        found.update((path, stub) for path, stub in inside if path in missing)
    return {path: found[path] for path in wanted if path in found}


def _forms(pattern: str) -> list[str]:
    """Return the pattern and, if it has wildcards and no slash, the same at any depth."""
    if _MAGIC.search(pattern) and "/" not in pattern.rstrip("/"):
        return [pattern, f"**/{pattern}"]
    return [pattern]


def _windows_forms(pattern: str) -> list[str]:
    """Return the same of a pattern as people write it on Windows."""
    found = _forms(slashed(pattern))
    if "\\" in pattern and not _MAGIC.search(pattern):
        found.append(pattern)  # a folder copy may have such a name
    return found


def _as_it_is(path: bytes) -> list[bytes]:
    return [path]


def path_forms(path: bytes) -> list[bytes]:
    """Return an exact path as it is and with slashes."""
    text = path.decode("utf-8", "surrogateescape")
    return list({path: None, slashed(text).encode("utf-8", "surrogateescape"): None})


def unmatched_of(
    wanted: Wanted, missed: tuple[str, ...], *, windows: bool = False
) -> tuple[str, ...]:
    """Return what was given and matches nothing in any of its forms.

    Args:
        wanted: What was asked for.
        missed: Forms that match nothing.
        windows: As for :meth:`Wanted.selection`.
    """
    if not missed:
        return ()
    texts = set(missed)
    forms = _windows_forms if windows else _forms
    exact = path_forms if windows else _as_it_is
    found = [pattern for pattern in wanted.patterns if texts.issuperset(forms(pattern))]
    listed = [
        os.fsdecode(path)
        for path in wanted.paths or ()
        if texts.issuperset(os.fsdecode(form) for form in exact(path))
    ]
    return (*found, *listed)


def _read_list(files_from: Path, *, null: bool) -> tuple[bytes, ...]:
    try:
        data = sys.stdin.buffer.read() if str(files_from) == "-" else files_from.read_bytes()
    except OSError as error:
        raise RequestError(f"cannot read the list {files_from}: {error.strerror}") from error
    found = data.split(b"\0") if null else split_list(data)
    return tuple(path for path in found if path)
