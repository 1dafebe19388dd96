"""Fail when too little of the package was run by the tests.

All of the package together: 95 %. Parsers, journal and replace code: 100 %. A branch counts as
much as a line. The input is the file that ``coverage json`` writes.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

OVERALL = 95.0
# What reads bytes of strangers, and what replaces files: every branch.
COMPLETE = ("src/rehydrate/formats/", "src/rehydrate/staging/")


def percent(summary: Mapping[str, Any]) -> float:
    """Give the share of lines and branches that were run.

    Args:
        summary: A summary as coverage writes it, of a file or of all.

    Returns:
        Between 0 and 100; 100 if there is nothing to run.
    """
    total = summary["num_statements"] + summary.get("num_branches", 0)
    run = summary["covered_lines"] + summary.get("covered_branches", 0)
    return 100.0 * run / total if total else 100.0


def is_complete(summary: Mapping[str, Any]) -> bool:
    """Tell whether every line and every branch was run.

    Args:
        summary: A summary as coverage writes it.

    Returns:
        True if nothing is missing.
    """
    return not summary["missing_lines"] and not summary.get("missing_branches", 0)


def faults_of(report: Mapping[str, Any]) -> Iterator[str]:
    """Compare a report with the gate.

    Args:
        report: What ``coverage json`` wrote.

    Yields:
        One line for each fault.
    """
    if not report["meta"].get("branch_coverage"):
        yield "branches were not measured"
    overall = percent(report["totals"])
    if overall < OVERALL:
        yield f"all: {overall:.2f} %, at least {OVERALL:.0f} %"
    for name, entry in sorted(report["files"].items()):
        if not name.startswith(COMPLETE) or is_complete(entry["summary"]):
            continue
        branches = [f"{start}->{end}" for start, end in entry.get("missing_branches", [])]
        missing = ", ".join([*map(str, entry["missing_lines"]), *branches])
        yield f"{name}: {percent(entry['summary']):.2f} %, must be complete; missing {missing}"


def main(arguments: list[str]) -> int:
    """Check the report.

    Args:
        arguments: The file that ``coverage json`` wrote.

    Returns:
        The exit code.
    """
    report = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    faults = list(faults_of(report))
    for fault in faults:
        print(f"coverage: {fault}")
    print(f"coverage: {percent(report['totals']):.2f} % over all, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
