"""The commands by name; the module of one is loaded when it is needed."""

from collections.abc import Callable
from importlib import import_module
from typing import Final

__all__ = ["COMMANDS", "command"]

COMMANDS: Final = {
    "optimize": "optimize",
    "versions": "listing",
    "ls": "listing",
    "info": "info",
    "inventory": "inventory",
    "plan": "plan",
    "restore": "restore",
    "verify": "verify",
    "cat": "cat",
    "export-stubs": "export_stubs",
    "rebuild": "rebuild",
    "clean": "clean",
}
"""Name of each command and the module that holds its function."""


def command(name: str) -> Callable[..., int]:
    """Return the function of a command.

    Args:
        name: Its name, a key of :data:`COMMANDS`.
    """
    home = import_module(f"rehydrate.cli.commands.{COMMANDS[name]}")
    found: Callable[..., int] = getattr(home, name.replace("-", "_"))
    return found
