"""The command line for typer: help, completion, and what is wrong with a line."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final, Self, get_args

import typer
import typer.core

from rehydrate.cli.__main__ import VERSION
from rehydrate.cli.declare import Argument, Option
from rehydrate.cli.guard import call
from rehydrate.cli.registry import COMMANDS, command

__all__ = ["application", "run"]

_HELP: Final = """Put files into a deduplicated store and restore them from it.

\b
rehydrate optimize SOURCE STORE          back up; run again for the next version
rehydrate ls STORE                       what is in it
rehydrate plan STORE '*.raw'             what a restore would read; reads no data
rehydrate restore STORE '*.raw' -o OUT   bring it back; run again to go on

\b
Exit codes: 0 all good, 1 some files failed, 2 wrong use,
3 the store cannot be used, 130 interrupted (run the same command to go on).
"""
_CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _show_version(wanted: object) -> None:
    if wanted:
        print(f"rehydrate {VERSION}")
        raise typer.Exit


def _main(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    del version


def application(find: Callable[[str], Callable[..., int]] = command) -> typer.Typer:
    """Build the command line, all commands of it.

    Args:
        find: Returns the function of a command.
    """
    app = typer.Typer(
        cls=_Group,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_CONTEXT,
    )
    app.callback(help=_HELP)(_main)
    for name in COMMANDS:
        app.command(name, cls=_Command)(_for_typer(find(name)))
    return app


def _for_typer(function: Callable[..., int]) -> Callable[..., None]:
    """Return a function that typer understands and that does the same."""

    @functools.wraps(function)
    def run(**values: object) -> None:
        raise typer.Exit(call(function, values))

    parameters = [
        parameter.replace(annotation=_translated(parameter.annotation))
        for parameter in inspect.signature(function).parameters.values()
    ]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run


def _translated(annotation: Any) -> Any:
    kind, declared = get_args(annotation)
    if isinstance(declared, Argument):
        info = typer.Argument(metavar=declared.metavar, help=declared.text, show_default=False)
        return Annotated[kind, info]
    option: Option = declared
    info = typer.Option(
        *option.names,
        help=option.text,
        metavar=option.metavar,
        min=option.least,
        show_default=option.default,
        parser=None if option.convert is None else functools.partial(_converted, option.convert),
    )
    return Annotated[kind, info]


def _converted(convert: Callable[[str], int | str], value: object) -> int | str:
    """Read a word, or pass on a default."""
    if isinstance(value, int):
        return value
    try:
        return convert(str(value))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


class _Unconverted:
    """Stands in for typer's conversion where there is nothing to convert.

    The real one loads a library that takes longer to load than all the rest together.
    """

    def __init__(self, real: Callable[[], Any]) -> None:
        self._real = real

    def __call__(self) -> Self:
        return self

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None or ctx.resilient_parsing:  # the latter: the shell asks for completions
            return value
        return self._real().coerce(value, param=param, ctx=ctx)


def _lightened(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        real = getattr(parameter, "get_runtime_param", None)
        if real is not None and not isinstance(real, _Unconverted):
            vars(parameter)["get_runtime_param"] = _Unconverted(real)
    return parameters


class _Command(typer.core.TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _lightened(super().get_params(ctx))


class _Group(typer.core.TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _lightened(super().get_params(ctx))


def run(words: list[str]) -> int:
    """Run a command line.

    Args:
        words: The words after the name of the program.

    Returns:
        The exit code.
    """
    try:
        application()(words, prog_name="rehydrate")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0
