"""Show what the command says about itself.

A line ``HELP: restore`` of a page is replaced by the output of ``rehydrate restore --help``, taken
while the page is built. What the page shows cannot disagree with the program.
"""

import os
import re
import subprocess
import sys

from sphinx.application import Sphinx

LINE = re.compile(r"^HELP:[ ]*(.*)$", re.MULTILINE)
PROGRAM = [sys.executable, "-m", "rehydrate.cli"]
PLAIN = {"COLUMNS": "96", "TERMINAL_WIDTH": "96", "NO_COLOR": "1", "TERM": "dumb"}


def block(match: re.Match[str]) -> str:
    """Run the program for one line of a page.

    Args:
        match: The line; its group has the arguments.

    Returns:
        A Markdown block with what it printed.
    """
    arguments = [*match[1].split(), "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    done = subprocess.run(
        [*PROGRAM, *arguments],
        env=environment | PLAIN,
        capture_output=True,
        text=True,
        check=True,
    )
    shown = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
    return f"```text\n$ rehydrate {' '.join(arguments)}\n{shown}\n```"


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the lines of a page.

    Args:
        app: The application.
        docname: Name of the page that was read.
        source: Its text; changed in place.
    """
    source[0] = LINE.sub(block, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to sphinx.

    Args:
        app: The application.

    Returns:
        What sphinx wants to know about the extension.
    """
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
