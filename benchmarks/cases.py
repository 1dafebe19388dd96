"""The cases, one function each; a case adds its figures and its misses alike."""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.bench import IMAGE, PROJECT, Bench, engine_store
from benchmarks.contenders import (
    Borg,
    Peer,
    Restic,
    copy,
    copy_and_sync,
    copy_list,
    our_command,
    printed,
    rehydrate,
)
from benchmarks.engine import WarmEngine
from benchmarks.figures import Limit, differences, ratios
from benchmarks.identity import differing_bytes, differing_holes, differing_metadata
from benchmarks.runs import Run, measure, remove

__all__ = [
    "amplification",
    "durability",
    "engine",
    "full",
    "identity",
    "program",
    "startup",
    "workers",
]

_ALLOWANCE: Final = 0.20
_LIMITS: Final = {"image": Limit(2.0), "120 files": Limit(4.0), "1 % of the files": Limit(3.0)}

_REPORTED: Final = {
    "reads": "reads",
    "data_bytes": "bytes_read",
    "other_bytes": "metadata_bytes",
    "visits": "container_visits",
    "containers": "containers",
    "needed": "bytes_needed",
}
"""Where the report has what the wrapper counts."""
_PLANNED: Final = {
    "data_bytes": "bytes_to_read",
    "other_bytes": "metadata_bytes",
    "media": "containers",
    "needed": "bytes_needed",
}


def startup(bench: Bench) -> None:
    """Time the shortest commands in fresh processes, beside a bare interpreter."""
    completion = {
        "_REHYDRATE_COMPLETE": "complete_bash",
        "COMP_WORDS": "rehydrate res",
        "COMP_CWORD": "1",
    }
    command = our_command()
    contenders: dict[str, Callable[[], Run]] = {
        "bare interpreter": partial(measure, [sys.executable, "-c", ""]),
        "--version": partial(measure, [*command, "--version"]),
        "--help": partial(measure, [*command, "--help"]),
        "restore --help": partial(measure, [*command, "restore", "--help"]),
        "completion": partial(measure, command, extra=completion, good=(0, 1)),
    }
    found = bench.race("startup", contenders, pairs=max(bench.pairs, 3) * 2 + 1)
    for name, runs in found.items():
        limit = None if name in {"bare interpreter", "restore --help"} else Limit(0.10)
        bench.add("startup", name, "s", [run.wall for run in runs], limit=limit)


def _selections(bench: Bench) -> dict[str, tuple[list[str], Callable[[], Run]]]:
    """Return what is restored apart from everything, with the copy of the same."""
    tree, target, sample = bench.tree("mixed"), bench.target, bench.sample()
    return {
        "image": ([IMAGE], lambda: copy(tree / IMAGE, target)),
        "120 files": ([PROJECT], lambda: copy(tree / PROJECT, target)),
        "1 % of the files": (sample, lambda: copy_list(tree, sample, target)),
    }


def engine(bench: Bench) -> None:
    """Restore selections in a warm process, from call to return, beside ``cp``."""
    with WarmEngine(engine_store(bench, "mixed")) as warm:
        for name, (names, copying) in _selections(bench).items():
            ours = partial(warm.restore, bench.target, names)
            found = bench.race(f"engine {name}", {"rehydrate": ours, "cp": copying})
            runs = (found["rehydrate"], found["cp"])
            bench.compare("engine alone", f"{name} / cp", runs, limit=_LIMITS[name])
        everything = partial(warm.restore, bench.target)
        copying = partial(copy, bench.tree("mixed"), bench.target)
        found = bench.race("engine full", {"rehydrate": everything, "cp": copying})
        bench.compare("engine alone", "all files / cp -r", (found["rehydrate"], found["cp"]))


def program(bench: Bench) -> None:
    """Restore the same selections with the whole program, a fresh process each time."""
    store = bench.store("mixed")
    for name, (names, copying) in _selections(bench).items():
        chosen = ["--files-from", str(bench.list_of(names))]
        ours = partial(rehydrate, "restore", store, *chosen, "-o", bench.target)
        found = bench.race(f"program {name}", {"rehydrate": ours, "cp": copying})
        factor = _LIMITS[name].value
        beyond = differences(
            [run.wall for run in found["rehydrate"]],
            [factor * run.wall for run in found["cp"]],
            least=0.0,
        )
        walls, spent, copied = (
            statistics.median(values)
            for values in (
                [run.wall for run in found["rehydrate"]],
                [run.cpu for run in found["rehydrate"]],
                [run.wall for run in found["cp"]],
            )
        )
        bench.add(
            "whole program",
            f"{name}: seconds beyond {factor:g} x cp",
            "s",
            beyond,
            limit=Limit(_ALLOWANCE),
            note=f"{walls:.3f} s, processor {spent:.3f} s; cp {copied:.3f} s",
        )


def _peers(bench: Bench) -> list[Peer]:
    """Return the installed peers; each has its repository of the mixed tree."""
    tree, found = bench.tree("mixed"), []
    for peer in (Restic, Borg):
        folder = bench.work / "peers" / f"{peer.name}-{bench.scale:g}"
        made: Peer = peer(folder)
        if not made.version():
            bench.add("full restore", f"all files / {peer.name}", "x", [], note="not installed")
            continue
        if not (folder / "ready").exists():
            print(f"making the repository of {peer.name}", file=sys.stderr, flush=True)
            remove(folder)
            folder.mkdir(parents=True)
            made.store(tree)
            (folder / "ready").touch()
        found.append(made)
    return found


def full(bench: Bench) -> None:
    """Restore everything with the whole program, beside ``cp -r`` and the peers."""
    tree, store, peers = bench.tree("mixed"), bench.store("mixed"), _peers(bench)
    contenders: dict[str, Callable[[], Run]] = {
        "rehydrate": partial(rehydrate, "restore", store, "-o", bench.target),
        "cp": partial(copy, tree, bench.target),
    }
    for peer in peers:
        contenders[peer.name] = partial(peer.restore, bench.target)
        contenders[f"{peer.name} opening"] = peer.opening
    found = bench.race("full", contenders)
    ours = found["rehydrate"]
    bench.compare("full restore", "all files / cp -r", (ours, found["cp"]), limit=Limit(1.0))
    for peer in peers:
        opening = [run.wall for run in found[f"{peer.name} opening"]]
        whole = [run.wall for run in found[peer.name]]
        apart = ratios([run.wall for run in ours], differences(whole, opening, least=1e-3))
        bench.compare("full restore", f"all files / {peer.name}", (ours, found[peer.name]))
        note = f"its opening takes {statistics.median(opening):.2f} s"
        name = f"all files / {peer.name} without its opening"
        bench.add("full restore", name, "x", apart, limit=Limit(1.0), note=note)


def workers(bench: Bench) -> None:
    """Restore with one worker and with two, in one warm process."""
    wanted = {"all-large": Limit(1.4, at_least=True), "all-tiny": Limit(0.97, at_least=True)}
    for kind, limit in wanted.items():
        with WarmEngine(engine_store(bench, kind)) as warm:
            one, two = (partial(warm.restore, bench.target, jobs=jobs) for jobs in (1, 2))
            found = bench.race(f"workers {kind}", {"one": one, "two": two})
        name = f"{kind}: one worker / two"
        bench.compare("workers", name, (found["one"], found["two"]), limit=limit)


def amplification(bench: Bench) -> None:
    """Count what the store is asked for, by a wrapper outside the engine."""
    chosen: dict[str, tuple[Sequence[str] | None, Limit]] = {
        "full": (None, Limit(1.02)),
        "1 % of the files": (bench.sample(), Limit(1.10)),
    }
    with WarmEngine(engine_store(bench, "mixed")) as warm:
        for name, (names, limit) in chosen.items():
            bench.clear()
            details = warm.restore(bench.target, names, count=True).details
            bench.clear()
            seen, said, needed = details["counted"], details["reported"], details["needed"]
            add = partial(bench.add, "amplification")
            factor = seen["data_bytes"] / max(needed, 1)
            note = f"{seen['data_bytes']:,} bytes read, {needed:,} needed, {seen['reads']:,} reads"
            add(f"{name}: read / needed", "x", [factor], limit=limit, note=note)
            again = (needed + seen["again"]) / max(needed, 1)
            add(f"{name}: re-read factor", "x", [again], limit=Limit(1.0))
            visits = seen["visits"] / max(seen["containers"], 1)
            note = f"{seen['containers']} containers"
            add(f"{name}: visits / containers", "x", [visits], limit=Limit(1.0), note=note)
            wrong = _differing({**seen, "needed": needed}, said, _REPORTED)
            if bench.has_command:
                wrong += _printed_otherwise(bench, names, {**seen, "needed": needed})
            count = f"{name}: figures of report, `restore` and `plan` that differ"
            add(count, "", [len(wrong)], limit=Limit(0), note=", ".join(wrong))


def _differing(
    seen: Mapping[str, int], said: Mapping[str, int], names: Mapping[str, str]
) -> list[str]:
    return [f"{name} {said[name]}" for key, name in names.items() if seen[key] != said[name]]


def _printed_otherwise(
    bench: Bench, names: Sequence[str] | None, seen: Mapping[str, int]
) -> list[str]:
    """Return the figures printed by the command that are not those of the counting store."""
    chosen: list[str | Path] = [] if names is None else ["--files-from", bench.list_of(names)]
    store = bench.store("mixed")
    plan = printed("plan", store, *chosen)["plan"]["totals"]
    restore = printed("restore", store, *chosen, "-o", bench.target)["counters"]
    bench.clear()
    wrong = [f"plan: {text}" for text in _differing(seen, plan, _PLANNED)]
    return wrong + [f"restore: {text}" for text in _differing(seen, restore, _REPORTED)]


def durability(bench: Bench) -> None:
    """Restore everything to the disk at each level of durability, beside ``cp -r``."""
    tree, store, target = bench.tree("mixed"), bench.store("mixed"), bench.disk_target

    def before() -> None:
        remove(target)
        measure(["sync"])

    def ours(level: str) -> Run:
        return rehydrate("restore", store, "-o", target, "--durability", level)

    contenders: dict[str, Callable[[], Run]] = {
        "cp": partial(copy, tree, target),
        "cp, sync": partial(copy_and_sync, tree, target),
        **{level: partial(ours, level) for level in ("none", "batch", "full")},
    }
    found = bench.race("durability", contenders, before=before)
    compare = partial(bench.compare, "disk")
    compare("none / cp -r", (found["none"], found["cp"]))
    compare("batch / cp -r + sync", (found["batch"], found["cp, sync"]))
    compare("full / cp -r + sync", (found["full"], found["cp, sync"]), limit=Limit(1.3))
    compare("full / cp -r", (found["full"], found["cp"]))


def identity(bench: Bench) -> None:
    """Compare restored trees with their source by standard tools, on both file systems."""
    tree, store = bench.tree("mixed"), bench.store("mixed")
    for place, target in (("memory", bench.target), ("disk", bench.disk_target)):
        remove(target)
        rehydrate("restore", store, "-o", target)
        for name, look in (
            ("bytes (diff -r)", differing_bytes),
            ("metadata and hard links", differing_metadata),
            ("holes", differing_holes),
        ):
            found = look(tree, target)
            note = "; ".join(found[:3])
            bench.add("identity", f"{place}: {name}", "", [len(found)], limit=Limit(0), note=note)
        remove(target)
