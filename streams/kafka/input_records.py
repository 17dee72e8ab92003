"""Input records as they are put into their topics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lyo.models.events.decode import Kind

__all__ = ["CATALOGUE", "LONGEST", "Record"]

CATALOGUE: Final = (Kind.CONTENT, Kind.ORGANIZATION)
"""The kinds that every worker reads whole: what comes after them is sent when they are in their topics."""
LONGEST: Final = 800_000
"""Bytes of a value: what a record of Kafka's default size can carry, with some to spare."""


@dataclass(slots=True, eq=False)
class Record:
    """A valid input record: what it is, its Kafka key, the learner (0 = none) and its bytes."""

    kind: Kind
    key: bytes
    user: int
    value: bytes
