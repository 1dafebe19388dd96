"""Put a real directory tree of this machine into a store, lose the source, restore from a copy.

Everything is done with the installed ``rehydrate`` command, and the result is proved with tools
that know nothing of it: ``diff``, ``sha256sum``, and a walker over the standard library that
compares types, modes, times, owners, link counts, attributes and holes. Each command is printed
before its output. Nothing is left behind; no root is needed.
"""

import argparse
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

LEFT_OUT = shutil.ignore_patterns("site-packages", "dist-packages", "test", "tests")
SPARSE_SIZE = 64 << 20
ISLAND = 256 << 10
BLOCK = 4096
SHOWN = 24
QUIET = 2.2
SELECTION = ["hard", "python/json", "python/email/*.py"]


class Stopped(Exception):  # noqa: N818 - the fault is noted where it happens
    """A step failed without which the following ones say nothing."""


class Demo:
    """Runs commands, prints them, and counts what went wrong.

    Attributes:
        folder: Where everything happens.
        faults: Differences and failed commands.
    """

    def __init__(self, folder: Path, program: Path) -> None:
        """Start without faults.

        Args:
            folder: Where everything happens.
            program: The installed command.
        """
        self.folder = folder
        self.faults: list[str] = []
        self._environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        self._environment["PATH"] = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"

    def title(self, text: str) -> None:
        """Print what comes next."""
        print(f"\n== {text}", flush=True)

    def run(self, line: str, *, expected: int = 0, shown: int = SHOWN) -> str:
        """Run a command line that must end as expected.

        Args:
            line: For a shell, in the demo's folder.
            expected: The exit code.
            shown: Lines of output to print.

        Returns:
            What it printed.

        Raises:
            Stopped: It ended otherwise, and the rest builds on it.
        """
        print(f"$ {line}", flush=True)
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        text = done.stdout.decode("utf-8", "backslashreplace")
        lines = text.splitlines()
        for output in lines[:shown]:
            print(f"  {output}")
        if len(lines) > shown:
            print(f"  ... {len(lines) - shown} more lines")
        if done.returncode != expected:
            self.fault(f"exit code {done.returncode} instead of {expected}: {line}")
            if line.startswith(("rehydrate ", "mv ")):
                raise Stopped
        return text

    def fault(self, text: str) -> None:
        """Note and print that something is not as it must be."""
        print(f"  FAULT: {text}", flush=True)
        self.faults.append(text)

    def missing(self, tool: str, stands_in: str) -> bool:
        """Tell, visibly, that a tool is not on this machine.

        Args:
            tool: Its name.
            stands_in: What proves the same instead.
        """
        if shutil.which(tool) is not None:
            return False
        print(f"  {tool} is not on this machine: step left out; {stands_in}")
        return True


def tree_of_python() -> Path:
    """Return the directory of the standard library of this Python."""
    base = {"base": sys.base_prefix, "installed_base": sys.base_prefix}
    return Path(sysconfig.get_path("stdlib", vars=base))


def make_source(tree: Path, source: Path) -> list[str]:
    """Copy a tree and add what is hard to restore.

    Args:
        tree: A directory of this machine; only read.
        source: Directory to make.

    Returns:
        What could not be made here, for people.
    """
    shutil.copytree(tree, source / "python", symlinks=True, ignore=LEFT_OUT)
    hard = source / "hard"
    (hard / "deep" / "empty directory").mkdir(parents=True)
    with (hard / "sparse.img").open("wb") as image:
        for at in (8 << 20, 40 << 20):
            image.seek(at)
            image.write(os.urandom(ISLAND))
        image.truncate(SPARSE_SIZE)
    (hard / "zeros.img").write_bytes(bytes(1 << 20))
    (hard / "empty").touch()
    blob = os.urandom(3 << 20)
    (hard / "first name").write_bytes(blob)
    os.link(hard / "first name", hard / "second name")
    (hard / "shifted copy").write_bytes(b"one byte more: the cuts follow the content" + blob)
    (hard / "link").symlink_to("first name")
    (hard / "link to nowhere").symlink_to("/does/not/exist")
    for name in (
        "-rf",
        " leading and trailing ",
        "new\nline",
        "quote ' \" \\",
        "h\u00e4\u00df\u2713",
    ):
        (hard / name).write_text(f"the file {name!r}\n", encoding="utf-8")
    left_out = []
    try:
        Path(os.fsdecode(os.fsencode(hard) + b"/not \xff UTF-8")).write_text("bytes\n")
    except OSError as error:
        left_out.append(f"a name that is no UTF-8: {error.strerror}")
    try:
        os.setxattr(hard / "empty", "user.rehydrate.demo", b"\0value")
    except (AttributeError, OSError) as error:
        left_out.append(f"extended attributes: {error}")
    (hard / "deep" / "read only").write_bytes(b"0400\n")
    os.utime(hard / "deep" / "read only", ns=(1, 981_173_106_123_456_789))
    (hard / "deep" / "read only").chmod(0o400)
    (hard / "deep").chmod(0o750)
    return left_out


def change_source(source: Path) -> None:
    """Change a little, as between two backup runs."""
    with (source / "hard" / "first name").open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"changed")
    (source / "hard" / "new file").write_text("was not there before\n", encoding="utf-8")
    (source / "hard" / "zeros.img").unlink()


def entries(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Walk a tree without following links; paths are relative."""
    for folder, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(folder, name)  # noqa: PTH118 - names are no UTF-8
            yield os.path.relpath(path, root), os.lstat(path)


def describe(root: Path, path: str, found: os.stat_result) -> dict[str, object]:
    """Return everything about an entry that a restore must bring back.

    Args:
        root: The tree.
        path: Relative path.
        found: Its status.
    """
    whole = os.path.join(root, path)  # noqa: PTH118 - names are no UTF-8
    kind = stat.S_IFMT(found.st_mode)
    facts: dict[str, object] = {"type": oct(kind), "mode": oct(stat.S_IMODE(found.st_mode))}
    facts["mtime"] = found.st_mtime_ns
    if os.geteuid() == 0:
        facts["owner"] = (found.st_uid, found.st_gid)
    if stat.S_ISLNK(kind):
        facts["link"] = os.readlink(whole)  # noqa: PTH115 - a Path would tidy the text up
    if hasattr(os, "listxattr"):
        names = os.listxattr(whole, follow_symlinks=False)
        facts["attributes"] = {
            name: os.getxattr(whole, name, follow_symlinks=False)
            for name in names
            if name.startswith("user.")
        }
    if stat.S_ISREG(kind):
        facts["links"] = found.st_nlink
        with open(whole, "rb") as file:  # noqa: PTH123 - names are no UTF-8
            facts["digest"] = hashlib.file_digest(file, "sha256").hexdigest()
    return facts


def extents(path: str) -> list[tuple[int, int]]:
    """Return the ranges of a file that are no holes, to the block."""
    found = []
    with open(path, "rb") as file:  # noqa: PTH123 - names are no UTF-8
        end, at = os.fstat(file.fileno()).st_size, 0
        while at < end:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start // BLOCK, -(-at // BLOCK)))
    return found


def differences(before: Path, after: Path, only: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Compare two trees.

    Args:
        before: The original.
        after: What was restored.
        only: Compare only what lies below these paths of the original.

    Returns:
        Number of entries compared, and one line for each difference.
    """
    old = {
        path: found
        for path, found in entries(before)
        if not only or any(path == top or path.startswith(top + "/") for top in only)
    }
    new = dict(entries(after))
    found = [f"missing: {path!r}" for path in old if path not in new]
    if not only:
        found += [f"not in the source: {path!r}" for path in new if path not in old]
    inodes: dict[int, int] = {}
    for path, status in old.items():
        if path not in new:
            continue
        was, now = describe(before, path, status), describe(after, path, new[path])
        if only:  # a name of a hard link may be outside the selection
            was.pop("links", None)
            now.pop("links", None)
        found += [
            f"{path!r}: {fact} was {was[fact]!r}, is {now.get(fact)!r}"
            for fact in was
            if was[fact] != now.get(fact)
        ]
        if inodes.setdefault(status.st_ino, new[path].st_ino) != new[path].st_ino:
            found.append(f"{path!r}: is no hard link of the same file any more")
        if stat.S_ISREG(status.st_mode) and hasattr(os, "SEEK_DATA"):
            holes = [extents(os.path.join(root, path)) for root in (before, after)]  # noqa: PTH118
            if holes[0] != holes[1]:
                found.append(f"{path!r}: data extents were {holes[0]}, are {holes[1]}")
    return len(old), found


def compare(demo: Demo, before: str, after: str, only: Sequence[str] = ()) -> None:
    """Compare two trees of the demo with the walker and note what differs."""
    what = f" (only {', '.join(only)})" if only else ""
    print(f"$ [walker] compare {before} {after}{what}", flush=True)
    count, found = differences(demo.folder / before, demo.folder / after, only)
    for line in found[:SHOWN]:
        demo.fault(line)
    if len(found) > SHOWN:
        demo.fault(f"and {len(found) - SHOWN} more differences")
    if not found:
        print(f"  {count} entries: type, mode, time (ns), bytes, links, attributes, holes equal")


def back_up(demo: Demo, tree: Path) -> None:
    """Make the source, store it twice, and lose it."""
    demo.title(f"The source: {tree} of this machine, and some hard cases")
    for reason in make_source(tree, demo.folder / "source"):
        print(f"  left out here: {reason}")
    demo.run("du -sh source; find source | wc -l; ls -la source/hard")
    demo.title("Back it up, change a little, back it up again")
    print("  (what changed in the last 2 seconds before a run is read again by the next: we wait)")
    time.sleep(QUIET)
    demo.run("rehydrate optimize source store")
    shutil.copy2(demo.folder / "source/hard/first name", demo.folder / "first name of version 1")
    change_source(demo.folder / "source")
    demo.run("rehydrate optimize source store")
    demo.run("rehydrate versions store")
    demo.run("rehydrate info store")
    if not demo.missing("sha256sum", "the walker hashes every file"):
        demo.run(
            "cd source && find . -type f -print0 | sort -z | xargs -0 sha256sum > ../SHA256SUMS"
        )
    demo.title("The source goes out of sight, and the store survives only as a copy")
    demo.run("mv source out-of-sight && cp -r store copy && rm -r store && ls")


def restore_selection(demo: Demo) -> None:
    """Restore a part of the tree and prove it."""
    chosen = shlex.join(SELECTION)
    demo.title("A selection: what it would read, and then do it")
    demo.run(f"rehydrate ls copy --tree {shlex.quote(SELECTION[1])}")
    demo.run(f"rehydrate plan copy {chosen}")
    demo.run(f"rehydrate restore copy {chosen} -o some")
    for top in ("hard", "python/json"):
        if not demo.missing("diff", "the walker compares every byte"):
            demo.run(
                f"diff -r --no-dereference out-of-sight/{top} some/{top} && echo no difference"
            )
    compare(demo, "out-of-sight", "some", ["hard", "python/json"])
    demo.run("rehydrate cat copy python/json/__init__.py --offset 0 --length 60")


def restore_everything(demo: Demo) -> None:
    """Restore the whole tree and prove it."""
    demo.title("Everything")
    demo.run("rehydrate restore copy -o all")
    if not demo.missing("diff", "the walker compares every byte"):
        demo.run("diff -r --no-dereference out-of-sight all && echo no difference")
    if not demo.missing("sha256sum", "the walker hashes every file"):
        demo.run(
            "cd all && sha256sum -c --quiet ../SHA256SUMS &&"
            ' echo "$(wc -l < ../SHA256SUMS) sums are right"'
        )
    compare(demo, "out-of-sight", "all")
    demo.run("rehydrate restore copy -o all")
    demo.title("The first version is still there")
    demo.run("rehydrate restore copy 'hard/first name' --version 1 -o old")
    if not demo.missing("cmp", "the walker saw the same in the other version"):
        demo.run("cmp 'old/hard/first name' 'first name of version 1' && echo equal")


def check_the_checks(demo: Demo) -> None:
    """Damage a copy of the result and of the store: the comparison and verify must see it."""
    demo.title("Can the proof fail? One byte of a restored file and of the store is changed")
    victim = demo.folder / "all/hard/shifted copy"
    flip(victim, 1000)
    count, found = differences(demo.folder / "out-of-sight", demo.folder / "all", ["hard"])
    print(f"  the walker sees {len(found)} differences in {count} entries, as it must")
    if not found:
        demo.fault("the walker does not see a changed byte")
    demo.run("rehydrate restore copy 'hard/shifted copy' --overwrite always -o all", shown=3)
    compare(demo, "out-of-sight", "all", ["hard/shifted copy"])
    demo.run("rehydrate verify copy --read-data")
    container = min((demo.folder / "copy/Data").iterdir())
    flip(container, container.stat().st_size // 2)
    demo.run("rehydrate verify copy --read-data", expected=1, shown=8)


def flip(path: Path, at: int) -> None:
    """Change one byte of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0xFF]))


def find_program() -> Path:
    """Return the installed command: that of this environment, else the one on the path."""
    beside = Path(sys.executable).parent / "rehydrate"
    found = str(beside) if beside.exists() else shutil.which("rehydrate")
    if found is None:
        raise SystemExit("demo: the command `rehydrate` is not installed; `make demo` installs it")
    return Path(found)


def main(arguments: Sequence[str]) -> int:
    """Run the demo.

    Args:
        arguments: The command line.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--tree", type=Path, default=tree_of_python(), help="another directory")
    parser.add_argument("--keep", action="store_true", help="leave the temporary directory there")
    options = parser.parse_args(arguments)
    program = find_program()
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="rehydrate-demo-"))
    demo = Demo(folder, program)
    try:
        print(f"working in {folder}; the command is {program}")
        demo.run("rehydrate --version")
        back_up(demo, options.tree)
        restore_selection(demo)
        restore_everything(demo)
        check_the_checks(demo)
    except Stopped:
        print("\nstopped: the steps that follow build on this one")
    finally:
        if not options.keep:
            subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)
            shutil.rmtree(folder)
    seconds = time.monotonic() - started
    print(f"\n{len(demo.faults)} faults in {seconds:.0f} seconds")
    for fault in demo.faults:
        print(f"  {fault}")
    return 1 if demo.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
