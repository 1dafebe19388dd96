"""Run every sample as a reader would: in a fresh interpreter, in an empty directory."""

import subprocess
import sys
import tempfile
from pathlib import Path

SAMPLES = Path("samples").resolve()
SECONDS = 120


def run(sample: Path) -> bool:
    """Run one sample.

    Args:
        sample: The file.

    Returns:
        True if it ended well.
    """
    with tempfile.TemporaryDirectory(prefix="rehydrate-sample-") as folder:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(sample)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    print(f"sample {sample.name}: {'ok' if done.returncode == 0 else 'FAILED'}")
    if done.returncode != 0:
        print(done.stdout + done.stderr)
    return done.returncode == 0


def main() -> int:
    """Run all samples.

    Returns:
        The exit code; no samples at all is a fault.
    """
    samples = sorted(path for path in SAMPLES.glob("*.py") if not path.name.startswith("_"))
    results = [run(sample) for sample in samples]
    print(f"samples: {len(results)} run, {results.count(False)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
