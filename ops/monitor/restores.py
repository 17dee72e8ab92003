"""Infers from outside which partition numbers a new owner is restoring, and how long that may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Opening:
    """A number that its owner has probably not opened yet; times in ms since the epoch."""

    since: int
    ready_at: int
    until: int


@dataclass(slots=True)
class _Owned:
    owner: str
    since: int
    positions: Mapping[str, int]
    opened: bool = False


class Openings:
    """Follows the owners of partition numbers.

    A worker restores a number's changelogs before it commits offsets of it. So a number counts as restoring
    from the time it has a new owner until one of its offsets moves, while records of it wait. The estimated
    duration is the size of its changelogs over the rate in the settings; after twice that time the number no
    longer counts as restoring.
    """

    def __init__(self, records_per_second: int) -> None:
        self._rate = records_per_second
        self._owned: dict[int, _Owned] = {}

    def look(
        self, now: int, number: int, owner: str | None, positions: Mapping[str, int], records: int
    ) -> Opening | None:
        """Take a number's owner, its topics' offsets and its number of changelog records.

        Gives its opening; None if the number is open or has no owner.
        """
        if owner is None:
            self._owned.pop(number, None)
            return None
        known = self._owned.get(number)
        if known is None or known.owner != owner:
            known = self._owned[number] = _Owned(owner, now, dict(positions))
        if any(position > known.positions.get(topic, position) for topic, position in positions.items()):
            known.opened = True
        takes = round(records * 1000 / self._rate)
        if known.opened or now > known.since + 2 * takes:
            return None
        return Opening(known.since, known.since + takes, known.since + 2 * takes)
