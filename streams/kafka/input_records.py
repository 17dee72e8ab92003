"""Input records ready to be sent to their topics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lyo.models.events.types import CATALOGUE, Kind

__all__ = ["CATALOGUE", "LONGEST", "Record"]

LONGEST: Final = 800_000
"""The most bytes of a value: Kafka's default limit of a record, less a reserve."""


@dataclass(slots=True, eq=False)
class Record:
    """A valid input record: its kind, its Kafka key, the learner (0: none) and its value."""

    kind: Kind
    key: bytes
    user: int
    value: bytes
