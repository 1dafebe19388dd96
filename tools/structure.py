"""Check what no linter checks: sizes of modules, classes and functions, names, late imports.

The limits come from the house style: a module has at most 500 lines, a class 250, a function 60
(its docstring not counted). An import inside a function is allowed in ``cli/`` (start-up time)
and in ``stores/`` (optional packages), nowhere else.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 500
CLASS_LINES = 250
FUNCTION_LINES = 60
LATE_IMPORT_ROOMS = frozenset({"cli", "stores"})
NAMELESS = frozenset({"base", "common", "helpers", "misc", "utils"})

type_of_function = (ast.FunctionDef, ast.AsyncFunctionDef)


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    """Count the lines of a definition from its name to its end.

    Args:
        node: The definition; decorators above it are not counted.

    Returns:
        The number of lines, without the docstring if it is a function.
    """
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    if isinstance(node, ast.ClassDef) or ast.get_docstring(node, clean=False) is None:
        return total
    docstring = node.body[0]
    return total - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def late_imports(tree: ast.Module) -> Iterator[int]:
    """Find imports inside functions.

    Args:
        tree: A parsed module.

    Yields:
        The line number of each.
    """
    lines = {
        node.lineno
        for function in ast.walk(tree)
        if isinstance(function, type_of_function)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    yield from sorted(lines)


def faults_of(path: Path, package: Path) -> Iterator[str]:
    """Check one module.

    Args:
        path: The module's file.
        package: The directory of the package it belongs to.

    Yields:
        One line for each fault.
    """
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    inside = path.relative_to(package)
    lines = len(source.splitlines())
    if lines > MODULE_LINES:
        yield f"{path}: {lines} lines, at most {MODULE_LINES}"
    if path.stem in NAMELESS:
        yield f"{path}: name the thing, not '{path.stem}'"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and body_lines(node) > CLASS_LINES:
            yield f"{path}:{node.lineno}: class {node.name} has {body_lines(node)} lines"
        if isinstance(node, type_of_function) and body_lines(node) > FUNCTION_LINES:
            yield f"{path}:{node.lineno}: function {node.name} has {body_lines(node)} lines"
    if inside.parts[0] not in LATE_IMPORT_ROOMS:
        for line in late_imports(tree):
            yield f"{path}:{line}: import inside a function"


def main(arguments: list[str]) -> int:
    """Check every module of a package.

    Args:
        arguments: The directory of the package; ``src/rehydrate`` if empty.

    Returns:
        The exit code.
    """
    package = Path(arguments[0] if arguments else "src/rehydrate")
    modules = sorted(package.rglob("*.py"))
    faults = [fault for path in modules for fault in faults_of(path, package)]
    for fault in faults:
        print(fault)
    print(f"structure: {len(modules)} modules, {len(faults)} faults")
    return 1 if faults or not modules else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
