"""No pin is known to be vulnerable, where a list of advisories is at hand (LYO_TEST_ADVISORIES)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from packaging.version import Version

from tests.support.advisories import pins, vulnerable

LOCK = Path(__file__).parents[3] / "requirements.txt"
LIST = os.environ.get("LYO_TEST_ADVISORIES")


def advisory(folder: Path, **affected: object) -> None:
    (folder / "some").mkdir(parents=True, exist_ok=True)
    about = {"package": {"ecosystem": "PyPI", "name": "Some"}} | affected
    (folder / "some" / "PYSEC-1.json").write_text(json.dumps({"id": "PYSEC-1", "affected": [about]}))


@pytest.mark.parametrize(
    ("version", "events", "struck"),
    [
        ("1.0", [{"introduced": "0"}, {"fixed": "1.1"}], True),
        ("1.1", [{"introduced": "0"}, {"fixed": "1.1"}], False),
        ("0.9", [{"introduced": "1.0"}], False),
        ("1.10", [{"introduced": "1.9"}], True),
        ("2.0", [{"introduced": "1.0"}, {"last_affected": "2.0"}], True),
        ("2.1", [{"introduced": "1.0"}, {"last_affected": "2.0"}], False),
        ("3.5", [{"introduced": "1"}, {"fixed": "2"}, {"introduced": "3"}, {"fixed": "4"}], True),
    ],
)
def test_a_pin_inside_of_a_range_is_named(
    tmp_path: Path, version: str, events: list[dict[str, str]], struck: bool
) -> None:
    advisory(tmp_path, ranges=[{"type": "ECOSYSTEM", "events": events}])
    said = vulnerable({"some": Version(version)}, tmp_path)
    assert said == ([f"some=={version}: PYSEC-1"] if struck else [])


def test_a_listed_version_is_named_and_other_packages_are_not(tmp_path: Path) -> None:
    advisory(tmp_path, versions=["1.0", "what-is-this"])
    assert vulnerable({"some": Version("1.0")}, tmp_path) == ["some==1.0: PYSEC-1"]
    assert vulnerable({"some": Version("1.1"), "other": Version("1.0")}, tmp_path) == []


def test_a_list_that_is_not_there_is_no_clean_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        vulnerable({}, tmp_path)


def test_every_pin_of_the_lock_file_is_read() -> None:
    found = pins(LOCK.read_text())
    assert {"aiokafka", "faust-streaming", "sqlalchemy", "uvicorn"} <= found.keys()
    assert len(found) == LOCK.read_text().count("==") - LOCK.read_text().count(" == ")


@pytest.mark.skipif(LIST is None, reason="LYO_TEST_ADVISORIES names no list of advisories")
def test_no_pin_is_known_to_be_vulnerable() -> None:
    assert LIST is not None
    assert vulnerable(pins(LOCK.read_text()), Path(LIST)) == []
