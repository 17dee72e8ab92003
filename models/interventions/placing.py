"""Chooses the send slot of a decision: the next slot that satisfies all limits."""

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
from lyo.models.interventions.candidates import EDUCATOR, LEARNER, Candidate, DecisionReason, LearnerAt
from lyo.models.interventions.decisions import HeldDecision
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
        self,
        learner: LearnerAt,
        known: dict[DecisionReason, HeldDecision],
        candidate: Candidate,
        milder: list[HeldDecision],
    ) -> tuple[int, list[Refused]] | None:
        """The slot (ms) and the candidates refused before it; None if there is no slot within the search."""
        reason, rule = candidate.reason, RULES[candidate.reason.type]
        counted = [held for held in known.values() if held not in milder and held.counts(learner.as_of)]
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
        slot: tuple[int, list[Refused]] | None = None
        if reason.audience == EDUCATOR:
            return None if self._waits(learner, cooling, 1) else (learner.as_of, [])
        counted += [held for held in milder if held.not_before < learner.as_of]
        placed = tuple(held.not_before for held in counted if held.reason.audience == LEARNER)
        if not self._waits(learner, cooling + same, PLACED_WITHIN_DAYS):
            limits = replace(self.limits(learner), placed=placed, cooling=tuple(cooling + same))
            slot = self._search(learner, candidate, limits)
        if slot is None and not same:
            learner.blocked.add((reason.audience, reason.type))
        return slot

    def _waits(self, learner: LearnerAt, cooling: list[tuple[int, int]], days: int) -> bool:
        """Whether cool-downs alone forbid each of so many local days, so that no slot need be searched."""
        if not cooling:
            return False
        instants = np.array([learner.as_of, *(at for at, _ in cooling)], np.int64)
        today, *near = Zones([learner.zone] * len(instants)).local_days(instants).tolist()
        return all(
            any(abs(day - other) < apart for other, (_, apart) in zip(near, cooling, strict=True))
            for day in range(today, today + days)
        )

    def _search(
        self, learner: LearnerAt, candidate: Candidate, limits: Limits
    ) -> tuple[int, list[Refused]] | None:
        """The next slot in the learner's hours; if there is none, in waking hours, then in any hour."""
        start, end = learner.as_of, NEVER
        if candidate.reason.type is InterventionType.OPTIMAL_TIMING_NUDGE:
            tries, days = [self._peaks(learner)], 1
            midnight = int(Zones([learner.zone]).instants(np.array([candidate.reason.start]))[0])
            # A time past the end of the learner's day is decided at that end.
            start, end = max(start, midnight), int(self._state.learners.column("due")[learner.slot])
        else:
            hours = (
                self._peaks(learner)
                if learner.columns.profile.confidence[learner.index] >= SURE_FROM
                else WAKING_HOURS
            )
            first = hours | WAKING_HOURS if candidate.priority >= URGENT_FROM else hours
            quiet = [ANY_HOUR] if limits.quiet_from >= 0 else []
            tries, days = [first, WAKING_HOURS, *quiet], PLACED_WITHIN_DAYS
        for hours in tries:
            slots = next_slots(start, days, replace(limits, hours=hours))
            if slots.instants and slots.instants[0] < end:
                return slots.instants[0], slots.refused
        return None

    def _peaks(self, learner: LearnerAt) -> frozenset[int]:
        return frozenset(np.flatnonzero(learner.columns.profile.peak[learner.index]).tolist())

    def limits(self, learner: LearnerAt) -> Limits:
        """The learner's own quiet hours and daily cap, else the organization's, else the defaults."""
        defaults = limits_by(learner.columns.rows[learner.index], self._state.catalogue)
        most = MOST_PER_DAY if defaults.most_per_day < 0 else defaults.most_per_day
        return Limits(learner.zone, defaults.quiet_from, defaults.quiet_to, most)
