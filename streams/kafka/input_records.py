"""Input records ready to be sent to their topics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lyo.models.events.types import CATALOGUE, Kind

__all__ = ["CATALOGUE", "HISTORY_HEADER", "LONGEST", "Record", "is_history"]

LONGEST: Final = 800_000
"""The most bytes of a value: Kafka's default limit of a record, less a reserve."""

HISTORY_HEADER: Final = "lyo-history"
"""Header of a record whose event is history, however recent: nobody is judged by it until all has come."""


def is_history(headers: Iterable[tuple[str, bytes]]) -> bool:
    """Whether a record's headers say that its event is history."""
    return any(name == HISTORY_HEADER for name, _ in headers)


@dataclass(slots=True, eq=False)
class Record:
    """A valid input record: kind, Kafka key, learner (0: none), value, and whether it is history."""

    kind: Kind
    key: bytes
    user: int
    value: bytes
    history: bool = False

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """Its Kafka headers."""
        return [(HISTORY_HEADER, b"")] if self.history else []
