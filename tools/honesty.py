"""Count what weakens the checks, and fail when it grows without a word.

Counted are tests that may be skipped or may fail (in the source, and in the last run), lines that
coverage, the type checker or the linter are told to leave alone. The announced numbers stand in
``tools/honesty.json``: whoever needs one more changes that file, where a reviewer sees it. Each such
line says why: ``# noqa: S101 - the kit is a test suite``, ``# type: ignore[misc] # untyped base``.
"""

import argparse
import ast
import json
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

LEDGER = Path("tools/honesty.json")
FOLDERS = ("src", "tests", "samples")
COMMENTS = {
    "no cover": re.compile(r"#.*\bpragma:\s*no\s*(cover|branch)\b"),
    "type: ignore": re.compile(r"#\s*type:\s*ignore\b"),
    "noqa": re.compile(r"#\s*noqa\b", re.IGNORECASE),
}
REASON = re.compile(r"[^#]*?( - \S|\s# (?!noqa|pragma|type:)\S)")
SKIPS = frozenset({"skip", "skipif", "importorskip", "skipTest", "SkipTest"})
XFAILS = frozenset({"xfail"})


def comments_of(path: Path) -> Iterator[str]:
    """Give the comments of a module.

    Args:
        path: A Python file.

    Yields:
        Each comment with its ``#``; text in strings is no comment.
    """
    with path.open("rb") as stream:
        for token in tokenize.tokenize(stream.readline):
            if token.type == tokenize.COMMENT:
                yield token.string


def count_source(paths: Iterable[Path]) -> Counter[str]:
    """Count in the source.

    Args:
        paths: Python files.

    Returns:
        Number for each kind; kinds that were not found are 0.
    """
    counts: Counter[str] = Counter(dict.fromkeys([*COMMENTS, "skip", "xfail"], 0))
    for path in paths:
        for comment in comments_of(path):
            counts.update(kind for kind, pattern in COMMENTS.items() if pattern.search(comment))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else None
            counts["skip"] += name in SKIPS
            counts["xfail"] += name in XFAILS
    return counts


def unexplained(paths: Iterable[Path]) -> Iterator[str]:
    """Find lines that are left alone without a word on why.

    Args:
        paths: Python files.

    Yields:
        One line for each.
    """
    for path in paths:
        for comment in comments_of(path):
            for kind, pattern in COMMENTS.items():
                found = pattern.search(comment)
                if found and not REASON.match(comment, found.end()):
                    yield f"{path}: '{kind}' without a reason: {comment}"


def count_run(junit: Path) -> int:
    """Count the tests that the last run skipped or expected to fail.

    Args:
        junit: The report that ``pytest --junitxml`` wrote; our own file, so it is trusted.

    Returns:
        Their number.
    """
    suites = ET.parse(junit).getroot().iter("testsuite")
    return sum(int(suite.get("skipped", "0")) for suite in suites)


def grown(counts: Counter[str], announced: dict[str, int]) -> Iterator[str]:
    """Compare the counts with the announced ones.

    Args:
        counts: What was found.
        announced: The ledger.

    Yields:
        One line for each kind that grew.
    """
    for kind, count in counts.items():
        if count > announced.get(kind, 0):
            yield f"grew unannounced: {kind}: {count}, announced {announced.get(kind, 0)} in {LEDGER}"


def main(arguments: list[str]) -> int:
    """Count, print, compare.

    Args:
        arguments: The command line.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--junit", type=Path, help="report of the test run")
    options = parser.parse_args(arguments)
    modules = sorted(path for folder in FOLDERS for path in Path(folder).rglob("*.py"))
    counts = count_source(modules)
    if options.junit:
        counts["skipped when run"] = count_run(options.junit)
    announced = json.loads(LEDGER.read_text(encoding="utf-8"))
    faults = [*unexplained(modules), *grown(counts, announced)]
    for kind, count in sorted(counts.items()):
        print(f"honesty: {kind}: {count} (announced {announced.get(kind, 0)})")
    for fault in faults:
        print(f"honesty: fault: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
