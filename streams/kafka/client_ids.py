"""Client ids: they tell the broker a process's role, its release and when it started.

The monitor reads them from the members of the groups, so it knows what runs without asking the processes.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NamedTuple

from lyo.streams.settings import Settings

_CLIENT_ID: Final = re.compile(r"lyo-([a-z]+)@([A-Za-z0-9._+-]+)@([0-9]{8}T[0-9]{6}Z)")
_STARTED: Final = "%Y%m%dT%H%M%SZ"


class Running(NamedTuple):
    """A process of the product: its role (worker, sink), its release, and its start (ms since the epoch)."""

    role: str
    release: str
    started: int


def sink_group(settings: Settings) -> str:
    """The consumer group of the sinks."""
    return f"{settings.app_id}-sink"


def release(settings: Settings) -> str:
    """The name of this build: the setting, else the version of the installed package."""
    if settings.release is not None:
        return settings.release
    try:
        return version("lyo-predictive")
    except PackageNotFoundError:
        return "unversioned"


def client_id(settings: Settings, role: str) -> str:
    """The client id of a process that starts now."""
    return f"lyo-{role}@{release(settings)}@{time.strftime(_STARTED, time.gmtime())}"


def running(name: str) -> Running | None:
    """The process of a client id; None if it is not the product's."""
    match = _CLIENT_ID.fullmatch(name)
    if match is None:
        return None
    began = datetime.strptime(match[3], _STARTED).replace(tzinfo=UTC)
    return Running(match[1], match[2], int(began.timestamp()) * 1000)
