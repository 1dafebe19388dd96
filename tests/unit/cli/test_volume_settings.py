"""Settings are shown as they are, and no document can do harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehydrate.cli.volume_settings import policy_of

NAME = "dedupConfig.01.xml"
TEXT = st.text("<>/=\"'&;[]! abAB\0é", max_size=60)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_values_of_all_usual_forms_are_found(encoding: str) -> None:
    document = """<?xml version="1.0"?>
    <root xmlns="urn:x" xmlns:p="urn:p" version="3">
      <property name="excludeFileExtensions" type="VT_LPWSTR" value="edb;jrs"/>
      <property key="minimumFileAge">3</property>
      <p:settings minimumFileSize="32768"/>
      <excludeFolder>\\Temp</excludeFolder><excludeFolder>\\Logs</excludeFolder>
      <empty/>
    </root>"""
    found, problems = policy_of({NAME: document.encode(encoding)})
    assert problems == []
    assert found == {
        "root.version": "3",
        "excludeFileExtensions": "edb;jrs",
        "minimumFileAge": "3",
        "settings.minimumFileSize": "32768",
        "excludeFolder": "\\Temp, \\Logs",
    }


def test_two_copies_count_once_and_a_broken_one_does_not_count() -> None:
    good, other = b'<a enabled="1"/>', b'<a enabled="2"/>'
    assert policy_of({NAME: good, "dedupConfig.02.xml": other})[0] == {"a.enabled": "1"}
    found, problems = policy_of({NAME: good[:5], "DEDUPCONFIG.02.XML": other, "notes.txt": b"x"})
    assert found == {"a.enabled": "2"}
    (problem,) = problems
    assert problem.startswith(f"{NAME} cannot be read")


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b"<!DOCTYPE a><a/>",
    ],
)
def test_document_types_are_refused(document: bytes) -> None:
    found, (problem,) = policy_of({NAME: document})
    assert found == {}
    assert "document type" in problem


def test_limits() -> None:
    assert "nested" in policy_of({NAME: b"<a>" * 100})[1][0]
    assert "too many" in policy_of({NAME: b" " * (1 << 21)})[1][0]
    many = "".join(f'<p name="n{number}" value="1"/>' for number in range(2000))
    assert len(policy_of({NAME: f"<a>{many}</a>".encode()})[0]) == 500
    long = policy_of({NAME: f"<a>{'x' * 5000}</a>".encode()})[0]["a"]
    assert len(long) < 500
    many_files = {f"config{number}.xml": f'<a{number} b="1"/>'.encode() for number in range(600)}
    assert len(policy_of(many_files)[0]) == 500


@given(document=st.binary(max_size=80) | TEXT.map(str.encode))
def test_any_bytes_give_values_or_a_problem(document: bytes) -> None:
    found, problems = policy_of({NAME: document})
    assert not (found and problems)
    assert all(isinstance(value, str) for value in found.values())
