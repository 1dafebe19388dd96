"""Where the command starts; answers ``--version`` before anything else is loaded."""

import gc
import os
import sys
from typing import Any

__all__ = ["VERSION", "main"]

VERSION = "0.1.0"
"""The version in ``pyproject.toml``; asking the installed metadata for it takes 70 ms."""

_COMPLETION = "_REHYDRATE_COMPLETE"


def main() -> int:
    """Run the command of this process.

    Returns:
        The exit code.
    """
    if sys.argv[1:] == ["--version"]:
        print(f"rehydrate {VERSION}")
        return 0
    # Nothing that imports make is garbage; collecting it costs a tenth of the start-up.
    gc.disable()
    if _COMPLETION in os.environ:
        # Help texts are plain, so nobody needs to load rich to take its markup out of them.
        absent: Any = None
        sys.modules["rich"] = absent
    from rehydrate.cli.app import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
