import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.sampling import MemorySampler, anonymous_bytes, descendants

MIB = 1 << 20


def process(proc: Path, pid: int, rss: str, children: str = "") -> None:
    task = proc / str(pid) / "task" / str(pid)
    task.mkdir(parents=True)
    (proc / str(pid) / "status").write_text(f"Name:\tx\n{rss}RssFile:\t 99 kB\n")
    (task / "children").write_text(children)


def test_anonymous_memory_only_is_counted(tmp_path: Path) -> None:
    process(tmp_path, 7, "RssAnon:\t    2048 kB\n")
    assert anonymous_bytes(7, tmp_path) == 2 * MIB


@pytest.mark.parametrize("pid", [7, 8], ids=["no-such-line", "ended"])
def test_nothing_is_known_of_a_process_that_says_nothing(pid: int, tmp_path: Path) -> None:
    process(tmp_path, 7, "")
    assert anonymous_bytes(pid, tmp_path) == 0


def test_a_family_is_watched_as_one(tmp_path: Path) -> None:
    process(tmp_path, 1, "RssAnon: 1024 kB\n", "2 3 ")
    process(tmp_path, 2, "RssAnon: 2048 kB\n", "4 ")
    process(tmp_path, 3, "RssAnon: 1024 kB\n")
    process(tmp_path, 4, "RssAnon: 4096 kB\n", "5")  # 5 has ended
    assert sorted(descendants(1, tmp_path)) == [1, 2, 3, 4, 5]
    sampler = MemorySampler(1, proc=tmp_path)
    sampler.look()
    assert sampler.peak == 8 * MIB


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_the_peak_of_a_real_process_is_seen_after_it_is_gone() -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = 'x = bytearray(b\"1\" * (40 << 20)); import time; time.sleep(0.3)'\n"
        "subprocess.run([sys.executable, '-c', child])\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    with MemorySampler(child.pid) as sampler:
        assert child.wait() == 0
    assert 40 * MIB < sampler.peak < 200 * MIB
    assert sampler.samples > 10
