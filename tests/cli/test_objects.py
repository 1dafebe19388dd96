"""Stores in object storage by the command: by URL, archived objects, what thawing costs."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehydrate.cli.remote import access_of
from rehydrate.cli.sizes import parse_amount
from rehydrate.stores.objects import waves
from tests.cli.stage import called
from tests.unit.stores.objects.service import (
    REGION,
    Bucket,
    missing_packages,
    s3_server,
    server_or_skip,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("obstore") is None, reason="needs the package obstore"
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    yield from server_or_skip(missing_packages(), s3_server)


@pytest.fixture
def bucket(server: str, made_once: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Return a bucket with the store, its data archived; the environment says how to reach it."""
    bucket = Bucket(server)
    store = made_once / "store"
    for path in store.rglob("*"):
        if path.is_file():
            name = path.relative_to(store).as_posix()
            kind = "GLACIER" if name.startswith("Data/") else "STANDARD"
            bucket.put(name, path.read_bytes(), kind=kind)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": server,
    }.items():
        monkeypatch.setenv(name, value)
    yield bucket
    bucket.client.close()


@pytest.fixture
def url(made_once: Path) -> str:
    return f"file://{made_once}/store"


@pytest.mark.parametrize(
    "words",
    [["ls"], ["ls", "--long"], ["versions"], ["verify"], ["verify", "--read-data", "--jobs", "1"]],
    ids=" ".join,
)
def test_commands_say_the_same_of_a_url_and_of_its_directory(
    words: list[str], url: str, made_once: Path
) -> None:
    command, *options = words
    named = called(command, url, *options, "--json")
    local = called(command, made_once / "store", *options, "--json")
    assert named.code == local.code == 0, named.err
    found, wanted = named.document, local.document
    for document in (found, wanted):
        document.pop("seconds", None)
    assert found == wanted


def test_info_names_the_url_and_counts_containers(url: str, made_once: Path) -> None:
    found = called("info", url, "--json").document
    wanted = called("info", made_once / "store", "--json").document
    assert found.pop("directory") == url
    del wanted["directory"]
    assert found == wanted


def test_files_come_out_of_a_url(url: str, made_once: Path, tmp_path: Path) -> None:
    done = called("restore", url, "-o", tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    for path in (made_once / "source").rglob("*"):
        if path.is_file():
            there = tmp_path / "out" / path.relative_to(made_once / "source")
            assert there.read_bytes() == path.read_bytes()
    assert called("cat", url, "docs/a.txt").out == "the sea\n"
    assert called("plan", url, "--json").document["estimates"] is None


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["optimize", "SOURCE", "URL"], "optimize"),
        (["optimize", "URL", "STORE"], "optimize"),
        (["rebuild", "URL"], "rebuild"),
        (["clean", "URL"], "clean"),
        (["export-stubs", "URL", "-o", "out"], "export-stubs"),
    ],
)
def test_what_only_directories_can_do_is_refused_by_name(words: list[str], name: str) -> None:
    done = called(*("s3://bucket/prefix" if word == "URL" else word for word in words))
    assert done.code == 2
    assert f"`rehydrate {name}` takes directories only: copy s3://bucket/prefix" in done.err


@pytest.mark.parametrize(
    ("place", "code", "message"),
    [
        ("ftp://host/store", 2, "no object store is named so"),
        ("file:///there/is/none", 2, "cannot open file:///there/is/none"),
        ("memory://", 3, "memory:// is no rehydrate store: it has no rehydrate-store.json"),
    ],
)
def test_what_is_no_store_is_said(place: str, code: int, message: str) -> None:
    done = called("ls", place)
    assert done.code == code
    assert message in done.err


def test_a_damaged_configuration_is_said(tmp_path: Path) -> None:
    (tmp_path / "rehydrate-store.json").write_text("{")
    done = called("ls", f"file://{tmp_path}")
    assert done.code == 3
    assert f"file://{tmp_path}/rehydrate-store.json is damaged" in done.err


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    done = called("ls", url)
    assert done.code == 3
    assert "pip install 'rehydrate[object]'" in done.err


def test_options_for_objects_are_refused_for_others(made_once: Path, tmp_path: Path) -> None:
    done = called("restore", made_once / "store", "-o", tmp_path, "--thaw", "bulk")
    assert done.code == 2
    assert "--thaw: only for stores of objects" in done.err
    done = called("plan", made_once / "store", "--endpoint", "http://x", "--max-cost", "2.5")
    assert "--endpoint and --max-cost: only for stores of objects" in done.err
    done = called("restore", f"file://{made_once}/store", "-o", tmp_path, "--thaw", "bulk")
    assert (done.code, "only objects of s3://" in done.err) == (2, True)
    done = called("restore", f"file://{made_once}/store", "-o", tmp_path, "--max-cost", "1")
    assert (done.code, "nothing is thawed without --thaw TIER" in done.err) == (2, True)
    done = called("restore", f"file://{made_once}/store", "-o", tmp_path, "--thaw", "soon")
    assert (done.code, "the price table knows bulk, expedited" in done.err) == (2, True)


def test_nothing_is_thawed_unasked(bucket: Bucket, tmp_path: Path) -> None:
    done = called("restore", bucket.url, "-o", tmp_path / "out")
    assert done.code == 1
    assert "is in an archive tier" in done.err
    assert "say --thaw TIER" in done.err
    assert not (tmp_path / "out.thaw.json").exists()
    assert called("ls", bucket.url).code == 0


def test_a_plan_prices_the_thaw_and_asks_for_none(bucket: Bucket, tmp_path: Path) -> None:
    done = called("plan", bucket.url, "--html", tmp_path / "plan.html")
    assert done.code == 0, done.err
    assert "1 object of" in done.out
    assert "nothing is thawed unless a restore is told to: --thaw standard" in done.out
    found = called("plan", bucket.url, "--thaw", "bulk", "--json").document["estimates"]
    (medium,) = found["media"]
    assert (medium["name"], medium["kind"], medium["containers"]) == (
        "frozen",
        "s3-glacier-flexible",
        1,
    )
    assert found["ready_seconds"] == 12 * 3600
    assert found["price"]["micros"] >= 1
    dry = called("restore", bucket.url, "-o", tmp_path / "out", "--thaw", "bulk", "--dry-run")
    assert (dry.code, "12 h 00 min" in dry.out) == (0, True)
    assert called("restore", bucket.url, "-o", tmp_path / "out").code == 1


def test_a_restore_thaws_within_its_limit(
    bucket: Bucket, made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waves, "_FIRST_LOOK", (0.05, 0.1))
    out, job = tmp_path / "out", tmp_path / "out.thaw.json"
    line = ["restore", bucket.url, "-o", str(out), "--thaw", "expedited", "--max-cost"]
    dear = called(*line, "0.001")
    assert (dear.code, "costs 0.0101 USD, more than" in dear.err) == (2, True)
    assert called("plan", bucket.url, "--thaw", "expedited", "--max-cost", "0.001").code == 2
    done = called(*line, "1", "--thaw-days", "3")
    assert done.code == 0
    assert (out / "copy.raw").read_bytes() == (made_once / "source" / "copy.raw").read_bytes()
    (asked,) = json.loads(job.read_text())["objects"].values()
    assert (asked["speed"], asked["days"], asked["progress"]) == ("expedited", 3, "ready")
    plan = called("plan", bucket.url, "--json").document["estimates"]
    assert [medium["name"] for medium in plan["media"]] == ["readable"]
    assert plan["price"] is None


def test_a_price_table_is_taken_from_a_file(bucket: Bucket, tmp_path: Path) -> None:
    offer = {"tier": "s3-glacier-flexible", "speed": "slow", "quick_s": 0, "slow_s": 7200}
    prices = {"per_gigabyte": 1, "per_thousand": 2000, "kept_per_gigabyte_month": 0}
    table = tmp_path / "prices.json"
    table.write_text(
        json.dumps({"currency": "EUR", "gigabyte": 10**9, "offers": [{**offer, **prices}]})
    )
    line = ["plan", bucket.url, "--price-table", str(table), "--thaw"]
    found = called(*line, "slow", "--json").document["estimates"]
    assert found["price"]["currency"] == "EUR"
    assert found["price"]["micros"] > 2_000_000
    assert called(*line, "bulk").code == 2
    assert "no price for s3-glacier-flexible/standard" in called(*line[:-1]).err
    table.write_text("{}")
    assert called(*line, "slow").code == 3
    table.unlink()
    assert (called(*line, "slow").code, "cannot read" in called(*line, "slow").err) == (2, True)


def test_the_environment_says_how_s3_is_reached() -> None:
    given = {"AWS_PROFILE": "work", "AWS_REQUEST_PAYER": "requester", "AWS_REGION": "eu-west-1"}
    found = access_of("s3://bucket", None, given)
    assert (found.profile, found.requester_pays, found.anonymous) == ("work", True, False)
    assert found.region == "eu-west-1"
    keys = {**given, "AWS_ACCESS_KEY_ID": "key", "AWS_SKIP_SIGNATURE": "true"}
    found = access_of("s3://bucket", "http://host", {**keys, "AWS_ENDPOINT_URL": "http://other"})
    assert (found.profile, found.anonymous, found.endpoint) == (None, True, "http://host")
    assert access_of("gs://bucket", None, keys).region is None


@pytest.mark.parametrize(("text", "micros"), [("10", 10_000_000), ("2.5", 2_500_000), ("0", 0)])
def test_amounts_are_exact(text: str, micros: int) -> None:
    assert parse_amount(text) == micros


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1.2345678", "two"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no amount"):
        parse_amount(text)


@pytest.mark.parametrize(
    "words",
    [
        ["restore", "STORE", "-o", "s3://bucket/out"],
        ["restore", "STORE", "-o", "out", "--thaw-job", "s3://bucket/job"],
        ["plan", "STORE", "--html", "file:///page.html"],
        ["plan", "STORE", "--save", "gs://bucket/plan"],
        ["export-stubs", "STORE", "--out", "az://box/out"],
    ],
    ids=" ".join,
)
def test_what_is_written_is_no_url(
    words: list[str], made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [str(made_once / "store") if word == "STORE" else word for word in words]
    done = called(*line)
    assert (done.code, "is a URL: only a directory or file of this machine" in done.err) == (
        2,
        True,
    )
    assert list(tmp_path.iterdir()) == []
    if words[0] != "export-stubs":
        assert called(*line, "--json").document["error"]["code"] == "request.url"
