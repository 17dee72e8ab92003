"""Chooses the send slot of a decision: the next one that all limits admit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from lyo.models.arrays.zones import Zones
from lyo.models.interventions.cadence import (
    ANY_HOUR,
    MOST_PER_DAY,
    PLACED_WITHIN_DAYS,
    RULES,
    SURE_FROM,
    URGENT_FROM,
    WAKING_HOURS,
)
from lyo.models.interventions.candidates import EDUCATOR, LEARNER, Reason, View, Wish
from lyo.models.interventions.decisions import Held
from lyo.models.interventions.send_slots import Limits, Refused, next_slots
from lyo.models.interventions.triggers import InterventionType
from lyo.models.predictions.compute import limits_by

if TYPE_CHECKING:
    from lyo.models.state.partition import State

__all__ = ["Placing"]

NEVER: Final = np.iinfo(np.int64).max


class Placing:
    """Chooses send slots for the decisions about one partition number's learners."""

    def __init__(self, state: State) -> None:
        self._state = state

    def place(
        self, view: View, known: dict[Reason, Held], wish: Wish, milder: list[Held]
    ) -> tuple[int, list[Refused]] | None:
        """The slot (ms) and the candidates refused before it; None if there is no slot within the search."""
        reason, rule = wish.reason, RULES[wish.reason.type]
        counted = [held for held in known.values() if held not in milder and held.counts(view.as_of)]
        cooling = [
            (held.not_before, RULES[held.reason.type].cool_down)
            for held in counted
            if reason.waits_for(held.reason)
        ]
        same = [
            (held.not_before, rule.per_skill)
            for held in counted
            if reason.skill and (held.reason.type, held.reason.skill) == (reason.type, reason.skill)
        ]
        found: tuple[int, list[Refused]] | None = None
        if reason.audience == EDUCATOR:
            return None if self._waits(view, cooling, 1) else (view.as_of, [])
        counted += [held for held in milder if held.not_before < view.as_of]
        placed = tuple(held.not_before for held in counted if held.reason.audience == LEARNER)
        if not self._waits(view, cooling + same, PLACED_WITHIN_DAYS):
            limits = replace(self.limits(view), placed=placed, cooling=tuple(cooling + same))
            found = self._search(view, wish, limits)
        if found is None and not same:
            view.blocked.add((reason.audience, reason.type))
        return found

    def _waits(self, view: View, cooling: list[tuple[int, int]], days: int) -> bool:
        """Whether cool-downs alone forbid each of so many local days, so that no slot need be searched."""
        if not cooling:
            return False
        moments = np.array([view.as_of, *(at for at, _ in cooling)], np.int64)
        today, *near = Zones([view.zone] * len(moments)).local_days(moments).tolist()
        return all(
            any(abs(day - other) < apart for other, (_, apart) in zip(near, cooling, strict=True))
            for day in range(today, today + days)
        )

    def _search(self, view: View, wish: Wish, limits: Limits) -> tuple[int, list[Refused]] | None:
        """The next slot in the learner's hours; if there is none, in waking hours, then in any hour."""
        start, end = view.as_of, NEVER
        if wish.reason.type is InterventionType.OPTIMAL_TIMING_NUDGE:
            tries, days = [self._peaks(view)], 1
            midnight = int(Zones([view.zone]).instants(np.array([wish.reason.start]))[0])
            # A time past the end of the learner's day is decided at that end.
            start, end = max(start, midnight), int(self._state.learners.column("due")[view.slot])
        else:
            hours = self._peaks(view) if view.look.profile.confidence[view.one] >= SURE_FROM else WAKING_HOURS
            first = hours | WAKING_HOURS if wish.priority >= URGENT_FROM else hours
            quiet = [ANY_HOUR] if limits.quiet_from >= 0 else []
            tries, days = [first, WAKING_HOURS, *quiet], PLACED_WITHIN_DAYS
        for hours in tries:
            slots = next_slots(start, days, replace(limits, hours=hours))
            if slots.found and slots.found[0] < end:
                return slots.found[0], slots.refused
        return None

    def _peaks(self, view: View) -> frozenset[int]:
        return frozenset(np.flatnonzero(view.look.profile.peak[view.one]).tolist())

    def limits(self, view: View) -> Limits:
        """The learner's own quiet hours and daily cap, else the organization's, else the defaults."""
        given = limits_by(view.look.rows[view.one], self._state.catalogue)
        most = MOST_PER_DAY if given.most_per_day < 0 else given.most_per_day
        return Limits(view.zone, given.quiet_from, given.quiet_to, most)
