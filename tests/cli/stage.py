"""A stage for end-to-end tests: a small source tree, and the program as users start it."""

import gc
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs

from rehydrate.cli.__main__ import answer

__all__ = ["PROGRAM", "Done", "called", "program", "small_tree"]

PROGRAM = [sys.executable, "-m", "rehydrate.cli"]
_SECONDS = 60


@attrs.frozen
class Done:
    """What a run of the program left.

    Attributes:
        code: Exit code.
        out: Standard output.
        err: Standard error output.
    """

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on standard output, which must be all there is."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def lines(self) -> list[str]:
        """The lines for people on standard error output; a traceback is never one of them."""
        assert "Traceback" not in self.err
        return self.err.splitlines()


def program(*words: str | os.PathLike[str], data: bytes = b"") -> Done:
    """Run the program.

    Args:
        *words: The command line.
        data: Standard input.
    """
    done = subprocess.run(
        [*PROGRAM, *(os.fspath(word) for word in words)],
        input=data,
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def called(*words: str | os.PathLike[str], data: bytes = b"") -> Done:
    """Run the program in this process, which is quicker and seen by coverage.

    Args:
        *words: The command line.
        data: Standard input.
    """
    out, err = io.BytesIO(), io.BytesIO()
    kept = sys.argv, sys.stdin, sys.stdout, sys.stderr, gc.get_threshold()
    line = [os.fspath(word) for word in words]
    sys.argv = ["rehydrate", *line]
    sys.stdin = io.TextIOWrapper(io.BytesIO(data))
    written = [io.TextIOWrapper(raw, "utf-8", write_through=True) for raw in (out, err)]
    sys.stdout, sys.stderr = written
    try:
        code = answer(line)
    finally:
        for stream in written:
            stream.detach()
        sys.argv, sys.stdin, sys.stdout, sys.stderr, threshold = kept
        gc.set_threshold(*threshold)
    return Done(code, out.getvalue().decode(), err.getvalue().decode())


def small_tree(root: Path) -> Path:
    """Make a source tree: shared content, a link, a hard link, holes, an empty directory."""
    source = root / "source"
    (source / "docs" / "deep").mkdir(parents=True)
    (source / "empty").mkdir()
    blob = bytes(range(256)) * 2000
    (source / "docs" / "a.txt").write_bytes(b"the sea\n")
    (source / "docs" / "deep" / "blob.raw").write_bytes(blob)
    (source / "copy.raw").write_bytes(blob)
    os.link(source / "copy.raw", source / "same.raw")
    (source / "link").symlink_to("docs/a.txt")
    with (source / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    for path in (source / "docs" / "deep", source / "docs", source / "copy.raw"):
        os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    (source / "docs").chmod(0o750)
    return source
