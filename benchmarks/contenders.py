"""The programs that are measured beside each other: ours, ``cp``, restic, borg, ``find``."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks.runs import Run, RunError, measure

__all__ = [
    "Borg",
    "Peer",
    "Restic",
    "copy",
    "copy_and_sync",
    "copy_list",
    "find_ls",
    "printed",
    "rehydrate",
]

_PASSWORD: Final = "benchmark"  # noqa: S105 - the repositories hold generated data


def rehydrate(*arguments: str | Path, sample: bool = False) -> Run:
    """Run our command as a user would, in a fresh process."""
    return measure([*our_command(), *arguments], sample=sample)


def our_command() -> list[str]:
    """Return the program of this environment; where it is not installed, the module."""
    script = Path(sys.executable).with_name("rehydrate")
    return [str(script)] if script.exists() else [sys.executable, "-m", "rehydrate.cli"]


def printed(*arguments: str | Path) -> dict[str, Any]:
    """Run our command with ``--json`` and return what it prints."""
    command = [*our_command(), *(str(argument) for argument in arguments), "--json"]
    said = subprocess.run(command, capture_output=True, check=False, text=True)
    if said.returncode:
        raise RunError(f"{command}: exit {said.returncode}: {said.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def copy(source: Path, target: Path) -> Run:
    """Copy a file or a tree with ``cp -r``."""
    return measure(["cp", "-r", source, target])


def copy_and_sync(source: Path, target: Path) -> Run:
    """Copy a tree with ``cp -r`` and wait for the disk with ``sync``."""
    return measure(["sh", "-c", 'cp -r "$0" "$1" && sync', source, target])


def copy_list(source: Path, names: Sequence[str], target: Path) -> Run:
    """Copy files with one ``cp --parents``; the directory above them must be made first."""
    target.mkdir()
    return measure(["cp", "--parents", "-t", target.resolve(), "--", *names], folder=source)


def find_ls(source: Path) -> Run:
    """Look at everything with ``find -ls``."""
    return measure(["find", source, "-ls"])


class Peer(Protocol):
    """Another program that restores from a deduplicated repository."""

    @property
    def name(self) -> str:
        """Its name, and how its repository was made if there was a choice."""
        ...

    def version(self) -> str:
        """Return what it says about itself; empty if it is not installed."""
        ...

    def store(self, source: Path) -> Run:
        """Make a new repository of a tree."""
        ...

    def opening(self) -> Run:
        """Open the repository and do nothing of use."""
        ...

    def restore(self, target: Path, names: Sequence[str] = ()) -> Run:
        """Restore everything, or some files, into a fresh target."""
        ...


def _version(program: str, argument: str) -> str:
    if shutil.which(program) is None:
        return ""
    said = subprocess.run([program, argument], capture_output=True, check=True, text=True)
    return said.stdout.strip()


class Restic:
    """restic, with the defaults of its ``init``."""

    name = "restic"

    def __init__(self, folder: Path) -> None:
        """Prepare.

        Args:
            folder: Directory for repository and cache; nothing of the user's own is touched.
        """
        self._repository = folder / "repository"
        self._environment = {
            "RESTIC_PASSWORD": _PASSWORD,
            "RESTIC_REPOSITORY": str(self._repository),
            "RESTIC_CACHE_DIR": str(folder / "cache"),
        }

    def version(self) -> str:
        """See :class:`Peer`."""
        return _version("restic", "version")

    def store(self, source: Path) -> Run:
        """See :class:`Peer`."""
        measure(["restic", "init"], extra=self._environment)
        return measure(["restic", "backup", "."], folder=source, extra=self._environment)

    def opening(self) -> Run:
        """List the snapshots."""
        return measure(["restic", "snapshots"], extra=self._environment)

    def restore(self, target: Path, names: Sequence[str] = ()) -> Run:
        """See :class:`Peer`."""
        chosen = [word for name in names for word in ("--include", f"/{name}")]
        command = ["restic", "restore", "latest", "--target", str(target), *chosen]
        return measure(command, extra=self._environment)


class Borg:
    """borg; its ``init`` asks for a kind of encryption, and none is the fastest for it."""

    name = "borg"

    def __init__(self, folder: Path) -> None:
        """Prepare.

        Args:
            folder: Directory for repository, cache and keys.
        """
        self._repository = folder / "repository"
        self._environment = {
            "BORG_REPO": str(self._repository),
            "BORG_BASE_DIR": str(folder / "home"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }

    def version(self) -> str:
        """See :class:`Peer`."""
        return _version("borg", "--version")

    def store(self, source: Path) -> Run:
        """See :class:`Peer`."""
        self._repository.parent.mkdir(parents=True, exist_ok=True)
        measure(["borg", "init", "--encryption", "none"], extra=self._environment)
        return measure(["borg", "create", "::all", "."], folder=source, extra=self._environment)

    def opening(self) -> Run:
        """List the archives."""
        return measure(["borg", "list"], extra=self._environment)

    def restore(self, target: Path, names: Sequence[str] = ()) -> Run:
        """See :class:`Peer`."""
        target.mkdir()
        return measure(["borg", "extract", "::all", *names], folder=target, extra=self._environment)
