"""Restores that thaw, by the command: priced first, waited for, interrupted, renewed, refused."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from rehydrate.cli import remote, thaw_desk
from rehydrate.cli.thaw_table import say_thaws
from rehydrate.plan.thaws import ComparedThaw
from rehydrate.stores.objects import waves
from rehydrate.stores.objects.archive import Archive, ObjectState, S3Archive, Stage
from tests.cli.stage import PROGRAM, called
from tests.unit.stores.objects.service import (
    REGION,
    Answer,
    Bucket,
    FaultProxy,
    missing_packages,
    s3_server,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("obstore") is None, reason="needs the package obstore"
)

DATA, MAPS = "Data/", "Stream/"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    missing = missing_packages()
    if missing:
        pytest.skip(f"needs the packages {', '.join(missing)}")
    with s3_server() as url:
        yield url


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(server) as proxy:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": proxy.url,
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(waves, "_FIRST_LOOK", (0.05, 0.1))
        yield proxy


@pytest.fixture
def bucket(server: str, proxy: FaultProxy, made_once: Path) -> Iterator[Bucket]:
    bucket = Bucket(server)
    fill(bucket, made_once, DATA)
    yield bucket
    bucket.restore_takes(None)
    bucket.client.close()


def fill(bucket: Bucket, made_once: Path, *cold: str, kind: str = "GLACIER") -> None:
    """Put the store; what begins so is archived."""
    store = made_once / "store"
    for path in store.rglob("*"):
        if path.is_file():
            name = path.relative_to(store).as_posix()
            bucket.put(name, path.read_bytes(), kind=kind if name.startswith(cold) else "STANDARD")


def whole(made_once: Path, out: Path) -> bool:
    name = "docs/deep/blob.raw"
    return (out / name).read_bytes() == (made_once / "source" / name).read_bytes()


def test_restore_above_its_limit_is_refused_as_a_whole(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    line = ["restore", bucket.url, "-o", str(tmp_path / "out"), "--thaw", "expedited"]
    done = called(*line, "--max-cost", "0.0099")
    assert done.code == 2
    (line_of_it,) = done.lines
    assert re.fullmatch(
        r"rehydrate: the thaw of 1 object of [0-9.]+ KiB costs 0\.0101 USD, more than --max-cost"
        r" 0\.0099 USD: nothing was asked for, and nothing written",
        line_of_it,
    )
    assert list(tmp_path.iterdir()) == []
    assert proxy.count("POST", "restore") == 0
    document = called(*line, "--max-cost", "0.0099", "--json").document
    assert (document["exit_code"], document["error"]["code"]) == (2, "thaw.max-cost")


def test_target_that_was_there_stays_when_a_restore_is_refused(
    bucket: Bucket, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert called("restore", bucket.url, "-o", out, "--thaw", "bulk", "--max-cost", "0").code == 2
    assert list(out.iterdir()) == []


def test_way_without_a_price_is_refused_as_a_whole(
    bucket: Bucket, made_once: Path, tmp_path: Path
) -> None:
    fill(bucket, made_once, DATA, kind="DEEP_ARCHIVE")
    done = called("restore", bucket.url, "-o", tmp_path / "out", "--thaw", "expedited")
    assert (done.code, len(done.lines)) == (2, 1)
    assert "no price for s3-deep-archive/expedited" in done.err
    assert list(tmp_path.iterdir()) == []


def test_price_is_told_first_and_in_the_document(
    bucket: Bucket, made_once: Path, tmp_path: Path
) -> None:
    out, job = tmp_path / "out", tmp_path / "job"
    line = ["restore", bucket.url, "-o", str(out), "--thaw", "expedited", "--thaw-job", str(job)]
    done = called(*line, "--max-cost", "1", "--json")
    assert done.code == 0
    price, wait = done.lines
    assert price.startswith("rehydrate: thaw of 1 object of ")
    assert " KiB, expedited: 0.0101 USD (requests 0.01 USD, bytes " in price
    assert "readable after 1 min 00 s to 5 min 01 s" in price
    assert wait.startswith("rehydrate: waiting for the thaw of 1 object, ready by 20")
    assert f"the same command goes on from {job}" in wait
    assert whole(made_once, out)
    thaw = done.document["thaw"]
    (found,) = thaw["rounds"]
    assert found["price"] == found["requests"] + found["retrieval"] + found["kept"] > 10_000
    assert (found["objects"], found["waves"], found["slow_seconds"]) == (1, 1, 301)
    assert (thaw["spent"], thaw["max_cost"], thaw["job"]) == (found["price"], 1_000_000, str(job))
    again = called(*line)
    assert (again.code, again.err) == (0, "")
    assert f"thaws cost 0.0101 USD by the price table; {job} lists them" in again.out


def test_restore_that_thaws_nothing_says_nothing_of_thaws(
    bucket: Bucket, made_once: Path, tmp_path: Path
) -> None:
    fill(bucket, made_once)
    done = called("restore", bucket.url, "-o", tmp_path / "out", "--thaw", "bulk")
    assert (done.code, done.err, "price table" in done.out) == (0, "", False)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_archived_maps_are_thawed_with_the_restore_alone(
    bucket: Bucket, proxy: FaultProxy, made_once: Path, tmp_path: Path
) -> None:
    fill(bucket, made_once, DATA, MAPS)
    out = str(tmp_path / "out")
    for line in (["plan"], ["ls"], ["restore", "-o", out], ["verify"], ["plan", "--thaw", "bulk"]):
        done = called(line[0], bucket.url, *line[1:])
        assert (done.code, len(done.lines)) == (3, 1), line
        assert "is archived, and only restores thaw (1 of 1 container with " in done.err
        speed = "bulk" if "bulk" in line else "standard"
        assert f"{speed}, costs 0.0" in done.err
        assert f": `rehydrate restore --thaw {speed}` thaws what it needs" in done.err
    assert proxy.count("POST", "restore") == 0
    line = ["restore", bucket.url, "-o", out, "--thaw", "expedited", "--max-cost"]
    assert called(*line, "0.001").code == 2
    assert proxy.count("POST", "restore") == 0
    done = called(*line, "0.015")
    assert (done.code, proxy.count("POST", "restore")) == (2, 1)
    assert (
        "these hold entries and maps; what the data costs is known when they are read" in done.err
    )
    assert "costs 0.0101 USD besides 0.0101 USD spent before by" in done.err
    assert not (tmp_path / "out").exists()
    done = called(*line, "0.025")
    assert (done.code, proxy.count("POST", "restore")) == (0, 2)
    assert "0.0101 USD were spent before by" in done.err
    assert whole(made_once, tmp_path / "out")


def test_archived_manifest_is_said(bucket: Bucket, made_once: Path, tmp_path: Path) -> None:
    fill(bucket, made_once, "versions/")
    for line in (["ls"], ["info"], ["restore", "-o", str(tmp_path / "out"), "--thaw", "bulk"]):
        done = called(line[0], bucket.url, *line[1:])
        assert (done.code, len(done.lines)) == (3, 1)
        assert "versions/00000001.rhm is archived, and nothing of the store can be told" in done.err
    fill(bucket, made_once, "rehydrate-store.json")
    done = called("versions", bucket.url)
    assert (done.code, "rehydrate-store.json is archived, and nothing" in done.err) == (3, True)


def test_archived_data_is_no_damage(bucket: Bucket) -> None:
    for options in ([], ["--read-data"]):
        done = called("verify", bucket.url, *options)
        assert (done.code, done.out) == (3, "")
        assert "is archived, and only restores thaw (1 of 1 container with data are;" in done.err
    done = called("cat", bucket.url, "docs/a.txt")
    assert (done.code, "is archived, and only restores thaw" in done.err) == (3, True)


def test_figures_are_left_out_where_nobody_can_tell(
    bucket: Bucket, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehydrate.cli.archived.can_thaw", lambda _url: False)
    done = called("verify", bucket.url)
    assert (done.code, "is archived, and only restores thaw: `rehydrate" in done.err) == (3, True)


def test_killed_restore_goes_on_without_asking_or_paying_again(
    bucket: Bucket, proxy: FaultProxy, made_once: Path, tmp_path: Path
) -> None:
    bucket.restore_takes(4)
    out, job = tmp_path / "out", tmp_path / "out.thaw.json"
    line = ["restore", bucket.url, "-o", str(out), "--thaw", "expedited", "--max-cost", "0.0102"]
    with subprocess.Popen(
        [*PROGRAM, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = ""
        while "waiting for the thaw" not in said:
            said = process.stderr.readline()
            assert said
        process.send_signal(signal.SIGKILL)
    assert proxy.count("POST", "restore") == 1
    before = json.loads(job.read_text())["objects"]
    done = called(*line, "--json")
    assert done.code == 0
    assert done.lines[0] == "rehydrate: asked for before, and nothing to pay: 1 object"
    assert proxy.count("POST", "restore") == 1
    assert done.document["thaw"]["rounds"] == []
    assert done.document["thaw"]["spent"] == sum(entry["price"] for entry in before.values())
    assert whole(made_once, out)


def test_copy_that_expires_is_thawed_again_within_the_limit(
    bucket: Bucket, proxy: FaultProxy, made_once: Path, tmp_path: Path
) -> None:
    gone = [Answer(403, "InvalidObjectState", "expired")]

    def fault(method: str, path: str) -> Answer | None:
        return gone.pop() if method == "GET" and "Data/" in path and gone else None

    proxy.fault = fault
    line = ["restore", bucket.url, "-o", str(tmp_path / "out"), "--thaw", "expedited"]
    done = called(*line, "--max-cost", "1")
    assert (done.code, proxy.count("POST", "restore")) == (0, 2)
    assert "rehydrate: repairs need the thaw of 1 object" in done.err
    assert "0.0101 USD were spent before" in done.err
    assert whole(made_once, tmp_path / "out")


def test_repair_above_what_is_left_fails_with_its_files(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    gone = [Answer(403, "InvalidObjectState", "expired")] * 9

    def fault(method: str, path: str) -> Answer | None:
        return gone.pop() if method == "GET" and "Data/" in path and gone else None

    proxy.fault = fault
    line = ["restore", bucket.url, "-o", str(tmp_path / "out"), "--thaw", "expedited"]
    done = called(*line, "--max-cost", "0.015")
    assert (done.code, proxy.count("POST", "restore")) == (1, 1)
    assert "repairs need archived objects that are not thawed: the thaw of 1 object" in done.err
    assert (tmp_path / "out" / "sparse").exists()


def test_copy_that_is_about_to_expire_is_renewed(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Brief(S3Archive):
        """Copies of which ten minutes are left."""

        def state(self, key: str, version: str | None, /) -> ObjectState:
            found = super().state(key, version)
            if found.stage is Stage.READABLE and found.expires_ns is not None:
                found = attrs.evolve(found, expires_ns=time.time_ns() + 600 * 10**9)
            return found

    def archive_of(url: str, access: Any) -> Archive:
        return Brief(url, access)

    monkeypatch.setattr(remote, "archive_of", archive_of)
    done = called("restore", bucket.url, "-o", tmp_path / "out", "--thaw", "bulk")
    assert (done.code, proxy.count("POST", "restore")) == (0, 2)


def test_waiting_is_told_where_objects_became_ready_and_each_hour(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.restore_takes(6)
    monkeypatch.setattr(thaw_desk, "_UNCHANGED", 0.0)
    done = called("restore", bucket.url, "-o", tmp_path / "out", "--thaw", "expedited")
    assert done.code == 0
    assert "rehydrate: 0 of 1 object thawed; the next look is in " in done.err


def test_saved_plan_is_restored_in_the_order_of_the_thaw(
    bucket: Bucket, proxy: FaultProxy, made_once: Path, tmp_path: Path
) -> None:
    plan, out = tmp_path / "plan", tmp_path / "out"
    assert called("plan", bucket.url, "--save", plan).code == 0
    line = ["restore", "-o", str(out), "--plan", str(plan), "--thaw", "expedited"]
    refused = called(*line, bucket.url, "--max-cost", "0.001")
    assert (refused.code, proxy.count("POST", "restore")) == (2, 0)
    assert not out.exists()
    assert called(*line, bucket.url).code == 0
    assert whole(made_once, out)
    content = json.loads(plan.read_text())
    content["plan"]["store"] = "00000000-0000-4000-8000-000000000001"
    plan.write_text(json.dumps(content))
    other = called(*line, bucket.url)
    assert (other.code, "the plan was made for another store" in other.err) == (2, True)


def test_interrupt_stops_the_wait_for_maps(
    bucket: Bucket, made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket, made_once, MAPS)
    monkeypatch.setattr(waves, "_FIRST_LOOK", (600.0, 600.0))
    job = tmp_path / "out.thaw.json"

    def interrupt() -> None:
        while not job.exists():
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    done = called("restore", bucket.url, "-o", tmp_path / "out", "--thaw", "expedited")
    thread.join()
    assert done.code == 130
    assert done.lines[-1] == "rehydrate: interrupted; the thaw goes on, run the same command again"
    assert not (tmp_path / "out").exists()


def test_plan_compares_the_ways_to_thaw(bucket: Bucket, made_once: Path) -> None:
    found = called("plan", bucket.url, "--thaw", "bulk", "--json").document["estimates"]
    ways = {thaw["speed"]: thaw for thaw in found["thaws"]}
    assert list(ways) == ["expedited", "standard", "bulk"]
    assert [thaw["taken"] for thaw in ways.values()] == [False, False, True]
    assert {(thaw["objects"], thaw["waves"]) for thaw in ways.values()} == {(1, 1)}
    assert ways["expedited"]["price"] > ways["standard"]["price"] > ways["bulk"]["price"]
    assert [thaw["quick_seconds"] for thaw in ways.values()] == [60, 10800, 18000]
    for thaw in ways.values():
        assert thaw["price"] == thaw["requests"] + thaw["retrieval"] + thaw["kept"]
    assert found["price"]["micros"] == ways["bulk"]["price"]
    (medium,) = found["media"]
    assert (medium["kind"], medium["note"]) == ("s3-glacier-flexible", "GLACIER")
    said = called("plan", bucket.url).out
    assert re.search(r"^expedited +0.01[0-9]+ USD +1 min 00 s +5 min 01 s", said, re.MULTILINE)
    assert re.search(r"^standard .* taken$", said, re.MULTILINE)
    fill(bucket, made_once)
    assert called("plan", bucket.url, "--json").document["estimates"]["thaws"] == []


def test_ways_that_cannot_be_taken_are_told_with_why(
    bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    way = {"tier": "s3-glacier-flexible", "per_gigabyte": 1, "per_thousand": 1}
    more = {"quick_s": 0, "slow_s": 60, "kept_per_gigabyte_month": 0}
    other = {**way, **more, "tier": "other", "speed": "late"}
    offers = [{**way, **more, "speed": "standard"}, other, {**other, "speed": "standard"}]
    table = tmp_path / "prices"
    table.write_text(json.dumps({"currency": "EUR", "gigabyte": 10**9, "offers": offers}))
    found = called("plan", bucket.url, "--price-table", table, "--json").document["estimates"]
    assert [thaw["speed"] for thaw in found["thaws"]] == ["standard"]
    say_thaws([ComparedThaw(speed="late", objects=1, bytes=2, problem="not for other")])
    assert capsys.readouterr().out.endswith(
        "late      -            -          -           -      -  not for other\n"
    )
    say_thaws([])
    assert capsys.readouterr().out == ""


def test_sizes_come_with_the_listing(bucket: Bucket, proxy: FaultProxy, made_once: Path) -> None:
    fill(bucket, made_once)
    found = called("info", bucket.url, "--json").document["containers"]
    store = made_once / "store"
    for folder in ("Data", "Stream"):
        sizes = [path.stat().st_size for path in (store / folder).iterdir()]
        assert found[folder] == {"count": len(sizes), "bytes": sum(sizes)}
    assert called("verify", bucket.url, "--read-data").code == 0
    assert [path for method, path in proxy.requests if method == "HEAD" and ".rhc" in path] == []
