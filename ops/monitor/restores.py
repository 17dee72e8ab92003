"""Which partition numbers are being restored by a new owner, seen from outside, and for how long they may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Opening:
    """A number that its owner is not known to have opened; times in ms since the epoch."""

    since: int
    ready_at: int
    until: int


@dataclass(slots=True)
class _Owned:
    owner: str
    since: int
    stood: Mapping[str, int]
    opened: bool = False


class Openings:
    """Follows the owners of partition numbers.

    A worker restores a number's changelogs before it commits anything of it. So a number counts as restoring
    from the moment that it has a new owner until one of its topics moves, while something of it waits. The
    estimate is the size of its changelogs over the rate in the settings; twice that is no excuse any more.
    """

    def __init__(self, records_per_second: int) -> None:
        self._rate = records_per_second
        self._owned: dict[int, _Owned] = {}

    def look(
        self, now: int, number: int, owner: str | None, positions: Mapping[str, int], records: int
    ) -> Opening | None:
        """Take who owns a number, where its topics stand and how many changelog records it has.

        Returns the opening that the number is in, if something of it waits; None if it is open or nobody's.
        """
        if owner is None:
            self._owned.pop(number, None)
            return None
        known = self._owned.get(number)
        if known is None or known.owner != owner:
            known = self._owned[number] = _Owned(owner, now, dict(positions))
        if any(position > known.stood.get(topic, position) for topic, position in positions.items()):
            known.opened = True
        takes = round(records * 1000 / self._rate)
        if known.opened or now > known.since + 2 * takes:
            return None
        return Opening(known.since, known.since + takes, known.since + 2 * takes)
