"""A finding: what was looked at, how it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Status(StrEnum):
    """How a finding is meant; `unknown` is never taken for `ok`."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


class Fix(StrEnum):
    """What `--fix` does about a finding. Nothing here deletes or changes what is there."""

    CREATE_TOPIC = "create topic"
    CREATE_DATABASE = "create database"
    MIGRATE = "migrate"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was checked.

    Args:
        check: what was looked at, such as `topics.partitions`.
        about: the topic, group, table or address.
        status: how it is.
        found: what there is, in words.
        to_do: what to do; empty when it is well.
        fix: what `--fix` would do, None where a person has to decide.
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
    """It works, but not as it should for long."""
    return Finding(check, about, Status.WARNING, found, to_do)


def error(check: str, about: str, found: str, to_do: str, fix: Fix | None = None) -> Finding:
    """Something does not work or loses data."""
    return Finding(check, about, Status.ERROR, found, to_do, fix)


def unknown(check: str, about: str, found: str, to_do: str) -> Finding:
    """It could not be looked at."""
    return Finding(check, about, Status.UNKNOWN, found, to_do)


def unseen(checks: Iterable[str], why: str, to_do: str) -> list[Finding]:
    """Everything that could not be looked at for one reason."""
    return [unknown(check, "", f"not looked at: {why}", to_do) for check in checks]


def well(found: Iterable[Finding]) -> bool:
    """Whether a deployment with these findings can be relied upon."""
    return all(one.status in {Status.OK, Status.WARNING} for one in found)
