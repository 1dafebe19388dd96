"""The reader of correct lines must give what typer gives, or leave the line to it."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from rehydrate.cli.app import application
from rehydrate.cli.direct import read
from rehydrate.cli.registry import COMMANDS, command

TAKEN = [
    "optimize src store",
    "optimize src store --jobs 2 --json",
    "versions store",
    "versions --json store",
    "ls store",
    "ls store a b* --version 3 -l",
    "ls store --tree --exclude x --exclude y",
    "ls -0 store a",
    "info store",
    "plan store a --save f --memory 64M",
    "plan store --files-from - --null",
    "restore store -o out",
    "restore -o out store a b c",
    "restore store --out=out --overwrite=always --links skip --durability none",
    "restore store a -o out --checksum --same-permissions --sparse -n --json",
    "restore store -o out --jobs 3 --memory 1.5G --plan p",
    "restore store -o one -o two --jobs 1 --jobs 2",
    "restore -o out -- store -odd --names",
    "restore -o out store - a",
    "verify store --read-data -j 2",
    "cat store a/b --offset 4K --length 10",
    "export-stubs store a -o out",
    "ls disk.vhdx Shares\\Finance --partition 2 --version 08/18/2016-06:22",
    "restore copy -o out --store a --store=b --windows-metadata sidecar --recall ignore",
    "info disk.img --containers --version {a1b2} --store a",
    "versions disk.img --partition 2",
    "verify disk.img --version 2 --read-data",
    "cat disk.img a --recall=refuse",
    "inventory /dev/sg3 -o dir --barcode A1 --generation=LTO-9 --json",
    "inventory --label a.xml --index b.xml --barcode A1 -o dir",
    "plan store --tapes dir --tape-folder backup/store --at-hand A,B",
    "restore store -o out --tapes dir --drive a --drive b --load 'load {barcode} {drive}'",
    "rebuild store",
    "clean out",
]
LEFT = [
    "restore store",
    "restore -o out",
    "restore store -o",
    "restore store -o out --nonsense",
    "restore store -o out --jobs x",
    "restore store -o out --jobs -1",
    "restore store -o out --jobs +1",
    "restore store -o out --version 0",
    "restore store -o out --memory 1K",
    "restore store -o out --overwrite sometimes",
    "restore store -o out --json=yes",
    "restore store -oout",
    "restore store -o out -nj2",
    "restore store -o --json",
    "restore store -o out --windows-metadata elsewhere",
    "restore store -o out --recall",
    "versions store more",
    "versions",
    "clean ''",
]


def by_typer(words: list[str]) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def find(name: str) -> Callable[..., int]:
        @functools.wraps(command(name))
        def note(**values: Any) -> int:
            found.append(values)
            return 0

        return note

    done = CliRunner().invoke(application(find), words)
    assert done.exit_code == 0, done.output
    (values,) = found
    return values


def split(line: str) -> list[str]:
    return [word.strip("'") for word in line.split(" ")]


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Typer gives an empty list for some lists that are not there."""
    return {name: None if value == [] else value for name, value in values.items()}


@pytest.mark.parametrize("line", TAKEN)
def test_a_line_that_is_taken_means_the_same_to_typer(line: str) -> None:
    name, *words = split(line)
    values = read(command(name), words)
    assert values is not None
    assert plain(values) == plain(by_typer([name, *words]))


@pytest.mark.parametrize("line", LEFT)
def test_an_unusual_line_is_left_to_typer(line: str) -> None:
    name, *words = split(line)
    assert read(command(name), words) is None


def test_every_command_has_a_line_here() -> None:
    assert {line.split()[0] for line in TAKEN} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_option_is_shown(name: str) -> None:
    done = CliRunner(env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).invoke(
        application(), [name, "--help"]
    )
    assert done.exit_code == 0
    for annotation in command(name).__annotations__.values():
        for declared in getattr(annotation, "__metadata__", ()):
            for option in getattr(declared, "names", ()):
                assert option in done.output
