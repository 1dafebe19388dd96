import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from rehydrate.errors import CorruptMetadataError, StoreError, UnsupportedFormatError
from rehydrate.stores.layout import CONFIGURATION_NAME, StoreConfiguration, read_configuration

STORE = uuid.UUID(int=7)


def write(root: Path, **changes: Any) -> None:
    found: dict[str, Any] = dict(StoreConfiguration(store=STORE).as_mapping())
    found.update(changes)
    (root / CONFIGURATION_NAME).write_text(json.dumps(found))


def test_a_configuration_survives_the_round_trip(tmp_path: Path) -> None:
    configuration = StoreConfiguration(store=STORE, level=5, capacity=1 << 20, read_compat=4)
    (tmp_path / CONFIGURATION_NAME).write_bytes(configuration.as_json())
    assert read_configuration(tmp_path) == configuration


def test_what_is_no_store_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"does not exist.*optimize"):
        read_configuration(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="is no directory"):
        read_configuration(tmp_path / "file")
    with pytest.raises(StoreError, match="is no rehydrate store"):
        read_configuration(tmp_path)
    (tmp_path / "Data").mkdir()
    with pytest.raises(StoreError, match="rehydrate rebuild"):
        read_configuration(tmp_path)


def test_an_unreadable_configuration_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / CONFIGURATION_NAME).mkdir()
    with pytest.raises(StoreError, match="cannot read"):
        read_configuration(tmp_path)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"{}", b'{"version": 1, "version": 1}']
)
def test_a_damaged_configuration_is_a_typed_error(tmp_path: Path, text: bytes) -> None:
    (tmp_path / CONFIGURATION_NAME).write_bytes(text)
    with pytest.raises(CorruptMetadataError):
        read_configuration(tmp_path)


def test_what_is_damaged_in_a_configuration_is_said_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / CONFIGURATION_NAME).write_bytes(b'{"level": 1, "level": 2}')
    with pytest.raises(CorruptMetadataError, match=r"names a field twice; `rehydrate rebuild "):
        read_configuration(tmp_path)


def test_a_newer_store_names_version_or_feature(tmp_path: Path) -> None:
    write(tmp_path, version=2)
    with pytest.raises(UnsupportedFormatError, match="store format 2 is newer"):
        read_configuration(tmp_path)
    write(tmp_path, features={"compat": 0, "read-compat": 0, "incompat": 0b1010})
    with pytest.raises(UnsupportedFormatError, match="feature bit 1, 3"):
        read_configuration(tmp_path)


def test_features_that_only_writers_must_know_are_refused_for_writing(tmp_path: Path) -> None:
    write(tmp_path, features={"compat": 8, "read-compat": 2, "incompat": 0})
    found = read_configuration(tmp_path)
    with pytest.raises(UnsupportedFormatError, match=r"feature bit 1 .* cannot write"):
        found.check_writable()


@pytest.mark.parametrize("name", ["features", "chunker", "compression", "capacity", "store"])
@pytest.mark.parametrize("value", [None, -1, 1 << 63, True, "x", [], {}])
def test_every_field_is_checked(tmp_path: Path, name: str, value: object) -> None:
    write(tmp_path, **{name: value})
    with pytest.raises(CorruptMetadataError, match="valid"):
        read_configuration(tmp_path)
