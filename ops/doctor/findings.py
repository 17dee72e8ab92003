"""A finding: what was checked, the result, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Status(StrEnum):
    """The severity of a finding; `unknown` is never taken for `ok`."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


class Fix(StrEnum):
    """What `--fix` does about a finding; it never deletes or changes anything that exists."""

    CREATE_TOPIC = "create topic"
    CREATE_DATABASE = "create database"
    MIGRATE = "migrate"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one check.

    Args:
        check: its name, such as `topics.partitions`.
        about: the topic, group, table or address.
        status: its severity.
        found: the result in words.
        to_do: what to do; empty if nothing.
        fix: what `--fix` would do; None if a person has to decide.
    """

    check: str
    about: str
    status: Status
    found: str
    to_do: str = ""
    fix: Fix | None = None


def ok(check: str, about: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(check, about, Status.OK, found)


def warning(check: str, about: str, found: str, to_do: str) -> Finding:
    """It works, but should be corrected."""
    return Finding(check, about, Status.WARNING, found, to_do)


def error(check: str, about: str, found: str, to_do: str, fix: Fix | None = None) -> Finding:
    """Something does not work or loses data."""
    return Finding(check, about, Status.ERROR, found, to_do, fix)


def unknown(check: str, about: str, found: str, to_do: str) -> Finding:
    """It could not be checked."""
    return Finding(check, about, Status.UNKNOWN, found, to_do)


def unseen(checks: Iterable[str], why: str, to_do: str) -> list[Finding]:
    """Findings for checks that were not possible, for one reason."""
    return [unknown(check, "", f"not checked: {why}", to_do) for check in checks]


def well(findings: Iterable[Finding]) -> bool:
    """Whether there is neither an error nor an unknown among the findings."""
    return all(finding.status in {Status.OK, Status.WARNING} for finding in findings)
