"""Computes predictions about learners as of instants; stream and API both call it, through `kinds`.

Stream and API keep rows in different places, so callers pass a function that looks up skills.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.coefficients import Hazard
from lyo.models.arrays.zones import Zones
from lyo.models.formulas import dropout, struggle, timing
from lyo.models.formulas.recall import mastery_now
from lyo.models.formulas.struggle_rates import own_rate
from lyo.models.predictions.episodes import WEAK, Skills
from lyo.models.predictions.records import Head, dropout_records, timing_records
from lyo.models.predictions.struggle_records import struggle_records
from lyo.models.predictions.types import DropoutRisk, Struggle, TimingProfile
from lyo.models.state.catalogue import Catalogue, Defaults, zones_of
from lyo.models.state.history import History, history, known, recent_sentiment
from lyo.models.state.mastery import MASTERY_UNIT, NO_STRENGTH
from lyo.models.state.struggle_requests import Request

__all__ = [
    "Group",
    "LookUp",
    "States",
    "dropout_risks",
    "group",
    "limits_by",
    "name_weak",
    "quiet_hours_of",
    "reportable",
    "struggle_inputs",
    "struggles",
    "timing_profiles",
]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
States: TypeAlias = tuple[Ints, NDArray[np.void], Bools]
LookUp: TypeAlias = Callable[[Ints, list[tuple[str, ...]]], States]
"""Looks up skills, by learner ``(n,)`` and names for each. Returns flat arrays ``(k,)``: each skill's learner
as an index into the ``n``, its MEMORY state, and whether it was ever practised."""


@dataclass
class Group:
    """``n`` learners as of an instant each."""

    rows: NDArray[np.void]  # (n,) LEARNER
    as_of: Ints  # ms
    zones: Zones
    past: History
    quiet_hours: timing.QuietHours
    revision: int  # of the catalogue
    hazard: Hazard | None  # fitted; None: the shipped one

    @cached_property
    def known(self) -> Bools:
        """Whether the learners ``(n,)`` have any event besides struggle requests."""
        return known(self.rows)

    @cached_property
    def profile(self) -> timing.TimingProfile:
        """Timing profiles of the learners ``(n,)``."""
        return timing.predict(self.past, self.rows, self.as_of, self.zones, self.quiet_hours)


def limits_by(row: np.void, catalogue: Catalogue) -> Defaults:
    """Quiet hours and daily cap of one LEARNER row: the learner's own, else the organization's."""
    start, end = quiet_hours_of(row.reshape(1), catalogue)
    most = int(row["nudges"])
    if most < 0:
        most = catalogue.limits(int(row["organization"])).most_per_day
    return Defaults(int(start[0]), int(end[0]), most)


def quiet_hours_of(rows: NDArray[np.void], catalogue: Catalogue) -> timing.QuietHours:
    """Quiet hours of LEARNER rows ``(n,)``: the learner's own, else the organization's."""
    start, end = rows["quiet_from"].astype(np.int64), rows["quiet_to"].astype(np.int64)
    unset = start < 0
    organizations, which = np.unique(rows["organization"][unset], return_inverse=True)
    defaults = [catalogue.limits(organization)[:2] for organization in organizations.tolist()]
    start[unset], end[unset] = np.array(defaults, np.int64).reshape(-1, 2)[which].T
    return start, end


def group(rows: NDArray[np.void], as_of: Ints, catalogue: Catalogue) -> Group:
    """LEARNER rows ``(n,)`` as of instants ``(n,)`` in ms, none before the row's newest event."""
    zones = zones_of(rows, catalogue)
    past, quiet_hours = history(rows, as_of, zones), quiet_hours_of(rows, catalogue)
    return Group(rows, as_of, zones, past, quiet_hours, catalogue.revision, catalogue.hazard)


def dropout_risks(heads: list[Head], learners: Group) -> list[DropoutRisk]:
    """Records of the learners' dropout risks ``(n,)``."""
    risk = dropout.predict(learners.past, learners.hazard)
    return dropout_records(heads, risk, learners.zones, learners.known)


def timing_profiles(heads: list[Head], learners: Group) -> list[TimingProfile]:
    """Records of the learners' timing profiles ``(n,)``."""
    return timing_records(heads, learners.profile, learners.zones)


def struggles(
    heads: list[Head],
    learners: Group,
    whose: Ints,
    owner: Ints,
    requests: list[Request],
    catalogue: Catalogue,
    look_up: LookUp,
) -> list[Struggle]:
    """Answers to struggle requests ``(m,)``.

    Args:
        heads: heads of the answers ``(m,)``.
        learners: the learners.
        whose: learner of each request ``(m,)``, an index into ``learners``.
        owner: the same learner's number for ``look_up`` ``(m,)``.
        requests: the requests ``(m,)``; a request without an earlier answer keeps this one as its first.
        catalogue: the catalogue with the requests' contents.
        look_up: looks up the skills that the requests name.
    """
    inputs = struggle_inputs(learners, whose, owner, requests, catalogue, look_up)
    feeling = np.where(inputs.sentiments > 0, inputs.sentiment, np.nan)
    return struggle_records(heads, requests, struggle.predict(inputs), feeling)


def struggle_inputs(
    learners: Group, whose: Ints, owner: Ints, requests: list[Request], catalogue: Catalogue, look_up: LookUp
) -> struggle.StruggleInputs:
    """The inputs of the struggle formula for requests ``(m,)``; arguments as in `struggles`."""
    for request, organization in zip(requests, learners.rows["organization"][whose].tolist(), strict=True):
        request.resolve(catalogue, organization)
    prereq_of, prereq, prereq_seen = look_up(owner, [request.prerequisites for request in requests])
    similar_of, similar, similar_seen = look_up(owner, [request.similar for request in requests])
    mood, moods, fresh = recent_sentiment(learners.past)
    moods = np.where(fresh, moods, 0.0)  # sentiment of weeks ago is no evidence about today
    return struggle.StruggleInputs(
        as_of=learners.as_of[whose],
        own=own_rate(learners.rows, learners.as_of)[whose],
        prereq_of=prereq_of,
        prereq=prereq,
        prereq_seen=prereq_seen,
        similar_of=similar_of,
        similar=similar,
        similar_seen=similar_seen,
        difficulty=np.array([request.difficulty for request in requests], np.float64),
        load=struggle.cognitive_load(learners.rows, learners.as_of, learners.zones)[whose],
        sentiment=mood[whose],
        sentiments=moods[whose],
    )


def reportable(states: NDArray[np.void]) -> Bools:
    """Which MEMORY states ``(n,)`` have or may get a plateau or regression without further events."""
    due = (states["window_detected"] > 0) | (states["plateaus"]["detected"] > 0).any(axis=1)
    return due | (states["peak_strength"] != NO_STRENGTH)


def name_weak(
    skills: Skills,
    owner: Ints,
    catalogue: Catalogue,
    look_up: LookUp,
    watch: Callable[[int, tuple[str, ...]], None] | None = None,
) -> None:
    """For plateaus, name the weakest prerequisite that is not mastered, in ``skills.weak``.

    Args:
        skills: skills ``(n,)``.
        owner: each skill's learner, as its number for ``look_up`` ``(n,)``.
        catalogue: the catalogue with the skills' prerequisites.
        look_up: looks up the prerequisites' states.
        watch: called with each plateau's index and the prerequisites that it depends on.
    """
    plateaus: list[tuple[int, int, tuple[str, ...]]] = []  # place, organization, prerequisites
    for place in np.flatnonzero(skills.states["window_detected"] > 0).tolist():
        organization = int(skills.organizations[place])
        if names := tuple(catalogue.prerequisites_of(skills.names[place], organization)):
            plateaus.append((place, organization, names))
            if watch is not None:
                watch(place, names)
    if not plateaus:
        return
    places = np.array([place for place, _, _ in plateaus], np.int64)
    of, states, practised = look_up(owner[places], [names for _, _, names in plateaus])
    learners, elapsed = skills.learners.take(places[of]), skills.as_of[places][of] - states["last_at"]
    now = np.where(practised, mastery_now(states, elapsed, learners) / MASTERY_UNIT, 1)
    named = [name for _, _, names in plateaus for name in names]
    by_level = np.lexsort((now, of))
    weakest = by_level[np.flatnonzero(np.diff(of[by_level], prepend=-1))]
    for flat in weakest[now[weakest] < WEAK].tolist():
        place, organization, _ = plateaus[of[flat]]
        skills.weak[place] = catalogue.skill_name(named[flat], organization)
