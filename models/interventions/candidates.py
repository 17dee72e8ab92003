"""Reasons for interventions: which ones a learner has at a moment, and whether one is still there.

All of it is a pure function of rows, moment and zone. An episode's start names a reason for good: a silence
begins with the last activity, a plateau or regression when it was detected, a nudge's day is its slot's local
day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas import dropout, plateau, regression, timing
from lyo.models.formulas.recall import Calibration, calibrate
from lyo.models.formulas.timing import TimingProfile, weekday
from lyo.models.interventions.cadence import HYSTERESIS, NUDGED_FOR_DAYS, SETTLED_DAYS, SURE_FROM
from lyo.models.interventions.triggers import (
    TIMING_PRIORITY,
    InterventionType,
    of_dropout,
    of_plateau,
    of_regression,
)
from lyo.models.predictions.compute import quiet_hours_of
from lyo.models.predictions.kinds import DROPOUT_RISK, PLATEAUS, REGRESSIONS, TIMING
from lyo.models.state.history import HALF_HOUR, History, history

if TYPE_CHECKING:
    from lyo.models.state.partition import State

__all__ = ["EDUCATOR", "LEARNER", "Look", "Reason", "Sign", "View", "Wish", "identity", "signs_of"]

LEARNER, EDUCATOR = "learner", "educator"
OF_DROPOUT = (InterventionType.EMOTIONAL_SUPPORT, InterventionType.GENTLE_NUDGE)
_REGRESSED_FROM = regression.LEVEL_BOUNDS[1] - HYSTERESIS

Ints = NDArray[np.int64]


class Reason(NamedTuple):
    """Why somebody is to be told something: one decision each, for ever."""

    audience: str
    type: InterventionType
    level: str  # of the dropout risk; '' for the other types
    skill: str  # '' if it is about none
    start: int  # of the episode, ms; of a nudge, the local day's number in ms

    @property
    def of_dropout(self) -> bool:
        """Whether it is the risk of dropping out."""
        return self.type in OF_DROPOUT

    @property
    def rank(self) -> int:
        """The level's place; 0 for the other types."""
        return dropout.LEVELS.index(self.level) if self.level else 0

    def waits_for(self, other: Reason) -> bool:
        """Whether the cool-down of what was decided for ``other`` holds this one back.

        One of the same type does, and of the dropout risk a graver one: who comes back is still at some risk
        the next day, and is not to be missed again at once.
        """
        if self.audience != other.audience:
            return False
        graver = self.of_dropout and other.of_dropout and other.rank >= self.rank
        return graver or self.type is other.type


class Wish(NamedTuple):
    """A reason that a learner has, with what it calls for."""

    reason: Reason
    priority: int
    level: str | None  # of the risk or the regression
    order: int  # among equals, the larger first
    kind: str  # of the prediction that it rests on


class Sign(NamedTuple):
    """A plateau or regression of a skill that is not over."""

    start: int
    level: str | None
    score: int
    priority: int  # 0: it calls for nothing (any more)

    @property
    def lasts(self) -> bool:
        """Whether what was decided for it stands: a regression's urgency is left below its lower bound."""
        return self.level is None or self.score >= _REGRESSED_FROM


Signs = dict[tuple[InterventionType, str], Sign]


def identity(user: int, reason: Reason) -> str:
    """The intervention's id: a hash of whose it is and why, 32 hex digits."""
    audience, kind, level, skill, start = reason
    text = f"intervention|{user}|{audience}|{kind}|{level}|{start}|{skill}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class Look:
    """What ``n`` learners' rows say as of instants ``(n,)``; ``score`` in hundredths, -1 = unknown."""

    slots: Ints
    rows: NDArray[np.void]
    zones: Zones
    as_of: Ints
    past: History
    score: Ints
    last: Ints  # newest session's end or completion, ms
    profile: TimingProfile

    @classmethod
    def at(cls, state: State, slots: Ints) -> Look:
        """Look at learners as of the later of their newest event and their last boundary."""
        rows = state.learners.rows[slots]
        zones = state.zones(rows)
        as_of = np.maximum(rows["newest"], state.learners.column("swept")[slots])
        past = history(rows, as_of, zones)
        risk = dropout.predict(past, state.catalogue.hazard)
        settled = as_of - rows["first"] >= SETTLED_DAYS * DAY
        return cls(
            slots=slots,
            rows=rows,
            zones=zones,
            as_of=as_of,
            past=past,
            score=np.where(risk.enough & settled, risk.score, -1),
            last=np.maximum(rows["last_session"], rows["last_completion"]),
            profile=timing.predict(past, rows, as_of, zones, quiet_hours_of(rows, state.catalogue)),
        )

    def nudged(self) -> Ints:
        """Local day of the next usual hour, if it is a usual day, ``(n,)``; else -1.

        A day ends up to an hour after midnight, so who learns at midnight alone is nudged for the next one.
        Who studied on that day may still be among them.
        """
        profile, past = self.profile, self.past
        since = (self.as_of + self.zones.offsets(self.as_of)) % DAY
        ahead = profile.peak & (np.arange(24) * HOUR >= since[:, None])
        day = past.today + ~ahead.any(axis=1)
        usual = profile.typical[np.arange(len(self.slots)), weekday(day)]
        idle = (past.last < day) & (past.silent <= NUDGED_FOR_DAYS)
        called = usual & idle & (profile.confidence >= SURE_FROM) & profile.peak.any(axis=1)
        return np.where(called, day, -1)

    def at_risk(self) -> NDArray[np.bool_]:
        """Whose dropout risk calls for something, ``(n,)``."""
        return self.score > dropout.LEVEL_BOUNDS[0]

    def studied(self, one: int, day: int, until: int) -> bool:
        """Whether learner ``one`` was active on a local day, before an instant (ms)."""
        past = self.past
        low, high = np.searchsorted(past.who, [one, one + 1])
        near = low + np.flatnonzero(np.abs(past.utc_day[low:high] - day) <= 1)
        for entry in near.tolist():
            half = np.flatnonzero(int(past.half[entry]) >> np.arange(48) & 1)
            at = past.utc_day[entry] * DAY + half * HALF_HOUR
            local = (at + self.zones.offsets(at, np.full(len(at), one))) // DAY
            if ((local == day) & (at < until)).any():
                return True
        return False


def signs_of(state: State, skills: Ints) -> dict[int, Signs]:
    """Plateaus and regressions of SKILL slots ``(m,)`` that are not over, by their learners' slots."""
    owner = state.skills.column("owner")[skills].astype(np.int64)
    states = state.skills.rows["now"][skills]
    as_of = np.maximum(states["last_at"], state.learners.column("swept")[owner])
    found: dict[int, Signs] = {}
    for one, kind, sign in _plateaus(states, as_of):
        skill = state.name(int(state.skills.column("name")[skills[one]]))
        found.setdefault(int(owner[one]), {})[kind, skill] = sign
    learners = calibrate(state.learners.rows[owner], as_of)
    for one, kind, sign in _regressions(states, as_of, learners):
        skill = state.name(int(state.skills.column("name")[skills[one]]))
        found.setdefault(int(owner[one]), {})[kind, skill] = sign
    return found


def _plateaus(states: NDArray[np.void], as_of: Ints) -> Iterator[tuple[int, InterventionType, Sign]]:
    which = np.flatnonzero(states["window_detected"] > 0)
    found = plateau.predict(states[which], as_of[which])
    for place in np.flatnonzero(found.active).tolist():
        trigger = of_plateau(int(found.days[place]))
        start = int(found.detected[place]) // 1000 * 1000
        sign = Sign(start, None, int(found.score[place]), 0 if trigger is None else trigger[1])
        yield int(which[place]), InterventionType.ALTERNATIVE_APPROACH, sign


def _regressions(
    states: NDArray[np.void], as_of: Ints, learners: Calibration
) -> Iterator[tuple[int, InterventionType, Sign]]:
    found = regression.predict(states, as_of, learners)
    for place in np.flatnonzero(found.active).tolist():
        level = regression.LEVELS[int(found.urgency[place])]
        trigger = of_regression(level)
        start = int(found.detected[place]) // 1000 * 1000
        sign = Sign(start, level, int(found.score[place]), 0 if trigger is None else trigger[1])
        yield place, InterventionType.SKILL_REFRESH, sign


@dataclass(slots=True)
class View:
    """One learner at a moment: what decisions about the learner look at."""

    look: Look
    one: int
    slot: int
    user: int
    organization: int
    zone: str
    as_of: int
    today: int
    score: int
    last: int
    nudged: int  # local day of a usual hour to be nudged for, -1 = none
    signs: Signs
    blocked: set[tuple[str, InterventionType]] = field(default_factory=set)

    @classmethod
    def of(cls, look: Look, one: int, signs: Signs, *, nudged: int) -> View:
        """Learner ``one`` of a look."""
        return cls(
            look=look,
            one=one,
            slot=int(look.slots[one]),
            user=int(look.rows["user"][one]),
            organization=int(look.rows["organization"][one]),
            zone=look.zones.names[one],
            as_of=int(look.as_of[one]),
            today=int(look.past.today[one]),
            score=int(look.score[one]),
            last=int(look.last[one]),
            nudged=nudged,
            signs=signs,
        )

    def wishes(self) -> list[Wish]:
        """All reasons that the learner has now, the most urgent first."""
        found = [*self._of_dropout(), *self._of_skills(), *self._of_timing()]
        return sorted(found, key=lambda wish: (-wish.priority, -wish.order, wish.reason))

    def _of_dropout(self) -> Iterator[Wish]:
        level = dropout.LEVELS[int(dropout.level_of(np.array([self.score]))[0])]
        trigger = of_dropout(level)
        if trigger is None:
            return
        for audience in (LEARNER, EDUCATOR) if level == dropout.LEVELS[-1] else (LEARNER,):
            reason = Reason(audience, trigger[0], level, "", self.last)
            yield Wish(reason, trigger[1], level, self.score, DROPOUT_RISK.name)

    def _of_skills(self) -> Iterator[Wish]:
        for (kind, skill), sign in self.signs.items():
            if sign.priority:
                is_stuck = kind is InterventionType.ALTERNATIVE_APPROACH
                about = (PLATEAUS if is_stuck else REGRESSIONS).name
                reason = Reason(LEARNER, kind, "", skill, sign.start)
                yield Wish(reason, sign.priority, sign.level, sign.score, about)

    def _of_timing(self) -> Iterator[Wish]:
        if self.nudged >= 0 and not self.look.studied(self.one, self.nudged, self.as_of + 1):
            reason = Reason(LEARNER, InterventionType.OPTIMAL_TIMING_NUDGE, "", "", self.nudged * DAY)
            yield Wish(reason, TIMING_PRIORITY, None, 0, TIMING.name)

    def holds(self, reason: Reason, expires: int) -> bool:
        """Whether a reason for which something was decided is still there."""
        if reason.of_dropout:
            return self.score >= dropout.LEVEL_BOUNDS[reason.rank - 1] - HYSTERESIS
        if reason.type is InterventionType.OPTIMAL_TIMING_NUDGE:
            return not self.look.studied(self.one, reason.start // DAY, expires)
        sign = self.signs.get((reason.type, reason.skill))
        return sign is not None and sign.start == reason.start and sign.lasts

    def is_current(self, reason: Reason) -> bool:
        """Whether the episode is the one that runs now, so that the decision must stay known."""
        if reason.of_dropout:
            return reason.start == self.last
        sign = self.signs.get((reason.type, reason.skill))
        return sign is not None and sign.start == reason.start
