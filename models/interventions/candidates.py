"""Candidates for interventions: a learner's reasons at an instant, and whether a reason still holds.

All functions are pure functions of rows, instant and zone. A reason is identified by its episode's start: a
silence begins with the last activity, a plateau or regression at its detection, a nudge with its slot's local
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

__all__ = [
    "EDUCATOR",
    "LEARNER",
    "Candidate",
    "DecisionReason",
    "LearnerAt",
    "LearnerColumns",
    "OpenEpisode",
    "identity",
    "open_episodes",
]

LEARNER, EDUCATOR = "learner", "educator"
OF_DROPOUT = (InterventionType.EMOTIONAL_SUPPORT, InterventionType.GENTLE_NUDGE)
_REGRESSED_FROM = regression.LEVEL_BOUNDS[1] - HYSTERESIS

Ints = NDArray[np.int64]


class DecisionReason(NamedTuple):
    """A reason for an intervention; each reason gets one decision, ever."""

    audience: str
    type: InterventionType
    level: str  # of the dropout risk; '' for the other types
    skill: str  # '' for types that are not about a skill
    start: int  # of the episode, ms; of a nudge, the local day's number in ms

    @property
    def of_dropout(self) -> bool:
        """Whether the reason is the dropout risk."""
        return self.type in OF_DROPOUT

    @property
    def rank(self) -> int:
        """The level's index; 0 for the other types."""
        return dropout.LEVELS.index(self.level) if self.level else 0

    def waits_for(self, other: DecisionReason) -> bool:
        """Whether the cool-down of a decision for ``other`` delays a decision for this reason.

        A reason of the same type does, and so does a dropout risk of the same or a higher level: a learner
        who comes back is still at some risk the next day, and is not to be contacted again at once.
        """
        if self.audience != other.audience:
            return False
        graver = self.of_dropout and other.of_dropout and other.rank >= self.rank
        return graver or self.type is other.type


class Candidate(NamedTuple):
    """A reason that a learner has, with the priority and level of its intervention."""

    reason: DecisionReason
    priority: int
    level: str | None  # of the risk or the regression
    order: int  # of equal priority, the larger one comes first
    kind: str  # of the prediction that it rests on


class OpenEpisode(NamedTuple):
    """A plateau or regression of a skill that has not ended."""

    start: int
    level: str | None
    score: int
    priority: int  # 0: no intervention

    @property
    def lasts(self) -> bool:
        """Whether a decision for it stands: a regression's urgency has hysteresis below its lower bound."""
        return self.level is None or self.score >= _REGRESSED_FROM


OpenEpisodes = dict[tuple[InterventionType, str], OpenEpisode]


def identity(user: int, reason: DecisionReason) -> str:
    """The intervention's id: a hash of learner and reason, 32 hex digits."""
    audience, kind, level, skill, start = reason
    text = f"intervention|{user}|{audience}|{kind}|{level}|{start}|{skill}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class LearnerColumns:
    """``n`` learners as of instants ``(n,)`` (ms), in columns; ``score`` in hundredths, -1: unknown."""

    slots: Ints
    rows: NDArray[np.void]
    zones: Zones
    as_of: Ints
    past: History
    score: Ints
    last: Ints  # newest session's end or completion, ms
    profile: TimingProfile

    @classmethod
    def at(cls, state: State, slots: Ints) -> LearnerColumns:
        """Learners as of the later of their newest event and their last boundary."""
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
        """Local day ``(n,)`` of the next usual hour, if it is a usual day; else -1.

        A day ends up to an hour after midnight, so a learner who studies only at midnight is nudged for the
        next day. Learners who have already studied on the day may be included.
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
        """Which learners' dropout risk calls for an intervention ``(n,)``."""
        return self.score > dropout.LEVEL_BOUNDS[0]

    def studied(self, index: int, day: int, until: int) -> bool:
        """Whether learner ``index`` was active on a local day, before an instant (ms)."""
        past = self.past
        low, high = np.searchsorted(past.who, [index, index + 1])
        near = low + np.flatnonzero(np.abs(past.utc_day[low:high] - day) <= 1)
        for entry in near.tolist():
            half = np.flatnonzero(int(past.half[entry]) >> np.arange(48) & 1)
            at = past.utc_day[entry] * DAY + half * HALF_HOUR
            local = (at + self.zones.offsets(at, np.full(len(at), index))) // DAY
            if ((local == day) & (at < until)).any():
                return True
        return False


def open_episodes(state: State, skills: Ints) -> dict[int, OpenEpisodes]:
    """Plateaus and regressions of SKILL slots ``(m,)`` that have not ended, by the learners' slots."""
    owner = state.skills.column("owner")[skills].astype(np.int64)
    states = state.skills.rows["now"][skills]
    as_of = np.maximum(states["last_at"], state.learners.column("swept")[owner])
    by_learner: dict[int, OpenEpisodes] = {}
    for index, kind, episode in _plateaus(states, as_of):
        skill = state.name(int(state.skills.column("name")[skills[index]]))
        by_learner.setdefault(int(owner[index]), {})[kind, skill] = episode
    learners = calibrate(state.learners.rows[owner], as_of)
    for index, kind, episode in _regressions(states, as_of, learners):
        skill = state.name(int(state.skills.column("name")[skills[index]]))
        by_learner.setdefault(int(owner[index]), {})[kind, skill] = episode
    return by_learner


def _plateaus(states: NDArray[np.void], as_of: Ints) -> Iterator[tuple[int, InterventionType, OpenEpisode]]:
    which = np.flatnonzero(states["window_detected"] > 0)
    predictions = plateau.predict(states[which], as_of[which])
    for place in np.flatnonzero(predictions.active).tolist():
        trigger = of_plateau(int(predictions.days[place]))
        start = int(predictions.detected[place]) // 1000 * 1000
        episode = OpenEpisode(
            start, None, int(predictions.score[place]), 0 if trigger is None else trigger[1]
        )
        yield int(which[place]), InterventionType.ALTERNATIVE_APPROACH, episode


def _regressions(
    states: NDArray[np.void], as_of: Ints, learners: Calibration
) -> Iterator[tuple[int, InterventionType, OpenEpisode]]:
    predictions = regression.predict(states, as_of, learners)
    for place in np.flatnonzero(predictions.active).tolist():
        level = regression.LEVELS[int(predictions.urgency[place])]
        trigger = of_regression(level)
        start = int(predictions.detected[place]) // 1000 * 1000
        episode = OpenEpisode(
            start, level, int(predictions.score[place]), 0 if trigger is None else trigger[1]
        )
        yield place, InterventionType.SKILL_REFRESH, episode


@dataclass(slots=True)
class LearnerAt:
    """One learner at an instant, with everything that decisions depend on."""

    columns: LearnerColumns
    index: int
    slot: int
    user: int
    organization: int
    zone: str
    as_of: int
    today: int
    score: int
    last: int
    nudged: int  # local day of a usual hour to be nudged for, -1 = none
    episodes: OpenEpisodes
    blocked: set[tuple[str, InterventionType]] = field(default_factory=set)

    @classmethod
    def of(cls, columns: LearnerColumns, index: int, episodes: OpenEpisodes, *, nudged: int) -> LearnerAt:
        """Learner ``index`` of the columns."""
        return cls(
            columns=columns,
            index=index,
            slot=int(columns.slots[index]),
            user=int(columns.rows["user"][index]),
            organization=int(columns.rows["organization"][index]),
            zone=columns.zones.names[index],
            as_of=int(columns.as_of[index]),
            today=int(columns.past.today[index]),
            score=int(columns.score[index]),
            last=int(columns.last[index]),
            nudged=nudged,
            episodes=episodes,
        )

    def candidates(self) -> list[Candidate]:
        """All candidates of the learner at the instant, the most urgent first."""
        candidates = [*self._of_dropout(), *self._of_skills(), *self._of_timing()]
        return sorted(
            candidates, key=lambda candidate: (-candidate.priority, -candidate.order, candidate.reason)
        )

    def _of_dropout(self) -> Iterator[Candidate]:
        level = dropout.LEVELS[int(dropout.level_of(np.array([self.score]))[0])]
        trigger = of_dropout(level)
        if trigger is None:
            return
        for audience in (LEARNER, EDUCATOR) if level == dropout.LEVELS[-1] else (LEARNER,):
            reason = DecisionReason(audience, trigger[0], level, "", self.last)
            yield Candidate(reason, trigger[1], level, self.score, DROPOUT_RISK.name)

    def _of_skills(self) -> Iterator[Candidate]:
        for (kind, skill), episode in self.episodes.items():
            if episode.priority:
                is_stuck = kind is InterventionType.ALTERNATIVE_APPROACH
                about = (PLATEAUS if is_stuck else REGRESSIONS).name
                reason = DecisionReason(LEARNER, kind, "", skill, episode.start)
                yield Candidate(reason, episode.priority, episode.level, episode.score, about)

    def _of_timing(self) -> Iterator[Candidate]:
        if self.nudged >= 0 and not self.columns.studied(self.index, self.nudged, self.as_of + 1):
            reason = DecisionReason(LEARNER, InterventionType.OPTIMAL_TIMING_NUDGE, "", "", self.nudged * DAY)
            yield Candidate(reason, TIMING_PRIORITY, None, 0, TIMING.name)

    def holds(self, reason: DecisionReason, expires: int) -> bool:
        """Whether the reason of a decision that expires at ``expires`` (ms) still holds."""
        if reason.of_dropout:
            return self.score >= dropout.LEVEL_BOUNDS[reason.rank - 1] - HYSTERESIS
        if reason.type is InterventionType.OPTIMAL_TIMING_NUDGE:
            return not self.columns.studied(self.index, reason.start // DAY, expires)
        episode = self.episodes.get((reason.type, reason.skill))
        return episode is not None and episode.start == reason.start and episode.lasts

    def is_current(self, reason: DecisionReason) -> bool:
        """Whether the reason's episode still runs, so that its decision must be kept."""
        if reason.of_dropout:
            return reason.start == self.last
        episode = self.episodes.get((reason.type, reason.skill))
        return episode is not None and episode.start == reason.start
