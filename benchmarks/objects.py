"""An object store 20 ms away: one request at a time against what the adapter does.

A real S3 server (moto) runs on loopback, and a proxy in a process of its own delays each answer. Both
sides restore the same 1 % of the files, drawn at random, through the same adapter; the slow side has
one connection. Requests and bytes are counted by the store.
"""

import multiprocessing
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

import attrs

from benchmarks.bench import Bench
from benchmarks.figures import Limit
from benchmarks.runs import Run, RunError
from rehydrate import RestoreRequest, StorePath, TargetRoot, restore_files
from rehydrate.conformance import World
from rehydrate.stores.objects.link import Link
from rehydrate.stores.objects.store import ObjectStore
from tests.unit.stores.objects.service import Bucket, FaultProxy, missing_packages, s3_server

__all__ = ["objects"]

LATENCY: Final = 0.02
FASTER: Final = 5.0
_CHUNK: Final = 16 << 10
_CHUNKS_EACH: Final = 512
_TOTAL: Final = 256 << 20
_CONNECTIONS: Final = 16
_SMALL_GAP: Final = 4096
_SHARE: Final = 100


def objects(bench: Bench) -> None:
    """Restore 1 % of 256 MiB out of a bucket."""
    missing = missing_packages()
    if missing:
        raise RunError(f"needs the packages {', '.join(missing)}")
    source = random.Random(4)
    count = max(int(_TOTAL // _CHUNK * bench.scale), 10 * _SHARE)
    world = World()
    for number in range(count):
        chunk = world.chunk(source.randbytes(_CHUNK), 1 + number // _CHUNKS_EACH)
        world.file(f"file-{number}", [chunk])
    world.seal()
    wanted = source.sample(world.requests, count // _SHARE)
    with s3_server() as server, _delayed(server) as url:
        bucket = Bucket(server)
        bucket.fill(world.files)
        _measure(bench, bucket, url, wanted)


@contextmanager
def _delayed(server: str) -> Iterator[str]:
    """Run the proxy in a process of its own: it must not take the interpreter from the restore."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(server, theirs), daemon=True)
    process.start()
    try:
        yield str(ours.recv())
    finally:
        ours.send("end")
        process.join()


def _serve(server: str, pipe: Connection) -> None:
    with FaultProxy(server, latency=LATENCY) as proxy:
        pipe.send(proxy.url)
        pipe.recv()


@attrs.define
class _Asked:
    """Requests and bytes of the last run."""

    requests: int = 0
    received: int = 0


def _measure(bench: Bench, bucket: Bucket, url: str, wanted: list[RestoreRequest]) -> None:
    needed = len(wanted) * _CHUNK / (1 << 20)
    measured = _opened(bucket, url, Link(latency=0, bandwidth=1)).measure(_any_container(bucket))
    print(f"link: {measured.latency * 1e3:.1f} ms, {measured.bandwidth / 1e6:.0f} MB/s, gap "
          f"{measured.max_gap} bytes", file=sys.stderr, flush=True)  # fmt: skip
    near = Link(latency=LATENCY, bandwidth=_SMALL_GAP / LATENCY, connections=_CONNECTIONS)
    links = {
        "one request at a time": attrs.evolve(near, connections=1),
        "in parallel": near,
        "in parallel, measured gap": attrs.evolve(measured, connections=_CONNECTIONS),
    }
    asked = {name: _Asked() for name in links}
    contenders = {
        name: partial(_restore, bench, _opened(bucket, url, link), wanted, asked[name])
        for name, link in links.items()
    }
    found = bench.race("objects", contenders)
    slow = found["one request at a time"]
    for name, runs in list(found.items())[1:]:
        bench.compare(
            "objects",
            f"1 % at random, 20 ms away: one request at a time / {name}",
            (slow, runs),
            limit=Limit(FASTER, at_least=True),
        )
    for name, counted in asked.items():
        bench.add("objects", f"requests for each needed MiB, {name}", "",
                  [counted.requests / needed])  # fmt: skip
        bench.add("objects", f"bytes received / needed, {name}", "x",
                  [counted.received / (1 << 20) / needed])  # fmt: skip


def _any_container(bucket: Bucket) -> StorePath:
    answer = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="backup/Data")
    return StorePath(str(answer["Contents"][0]["Key"]).removeprefix("backup/"))


def _opened(bucket: Bucket, url: str, link: Link) -> ObjectStore:
    return ObjectStore(bucket.url, access=bucket.access(url), link=link)


def _restore(bench: Bench, store: ObjectStore, wanted: list[RestoreRequest], asked: _Asked) -> Run:
    before = store.traffic
    bench.target.mkdir(parents=True)
    begin, used = time.perf_counter(), time.process_time()
    with TargetRoot(bench.target) as target:
        restore_files(wanted, store, target).raise_for_failures()
    wall, cpu = time.perf_counter() - begin, time.process_time() - used
    asked.requests = store.traffic.requests - before.requests
    asked.received = store.traffic.received - before.received
    return Run(wall=wall, cpu=cpu)
