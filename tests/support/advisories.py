"""Which pinned versions an advisory list knows to be vulnerable; the list is a folder of OSV records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

Pins = dict[str, Version]


def pins(requirements: str) -> Pins:
    """The exact versions of a lock file, by canonical name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", requirements, re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in found}


def vulnerable(locked: Pins, folder: Path) -> list[str]:
    """A line for each pin that a record under the folder is about, and which no record withdraws.

    Raises:
        FileNotFoundError: there is no record at all: a list that is not there must not pass for a clean one.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in {".yaml", ".yml", ".json"}]
    if not files:
        raise FileNotFoundError(f"no advisories under {folder}")
    said = []
    for path in files:
        # A folder of the whole list has a folder for each package: only ours are read.
        if path.parent != folder and canonicalize_name(path.parent.name) not in locked:
            continue
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not record.get("withdrawn"):
            said += [f"{name}=={locked[name]}: {record['id']}" for name in _struck(record, locked)]
    return said


def _struck(record: Any, locked: Pins) -> Iterator[str]:
    for affected in record.get("affected", ()):
        package = affected.get("package", {})
        name = canonicalize_name(package.get("name", ""))
        if package.get("ecosystem") == "PyPI" and name in locked and _is_in(affected, locked[name]):
            yield name


def _is_in(affected: Any, version: Version) -> bool:
    listed = (_version(one) for one in affected.get("versions", ()))
    spans = (one["events"] for one in affected.get("ranges", ()) if one.get("type") == "ECOSYSTEM")
    return version in listed or any(_within(events, version) for events in spans)


def _within(events: list[dict[str, str]], version: Version) -> bool:
    """Whether OSV's events, in their order, leave a version inside: introduced, fixed, last_affected."""
    inside = False
    for event in events:
        (kind, at), mark = next(iter(event.items())), None
        mark = Version("0.dev0") if at == "0" else _version(at)
        if mark is None:
            continue
        if kind == "introduced" and version >= mark:
            inside = True
        elif (kind == "fixed" and version >= mark) or (kind == "last_affected" and version > mark):
            inside = False
    return inside


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
