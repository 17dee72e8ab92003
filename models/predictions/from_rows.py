"""Predictions at any moment about learners whose rows come from a store, by the code that the stream uses.

An instant before a row's newest event is moved to that event's time, since a row cannot be unfolded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import Zones
from lyo.models.events.types import OutcomeKind
from lyo.models.formulas import send_time
from lyo.models.formulas.recall import calibrate
from lyo.models.formulas.send_time import Limits, TimeCheck, check
from lyo.models.predictions import compute
from lyo.models.predictions.compute import Group
from lyo.models.predictions.episodes import Skills
from lyo.models.predictions.kinds import (
    ABOUT_SKILLS,
    PredictionKind,
    Predictions,
    of_requests,
    of_skills,
)
from lyo.models.state import layout
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.learner import OUTCOME_KINDS, empty_learners
from lyo.models.state.skill import MEMORY, SKILL
from lyo.models.state.struggle_requests import Request

__all__ = [
    "StoredRows",
    "check_time",
    "is_good",
    "limits_of",
    "of_values",
    "skill_predictions",
    "struggles",
    "studied",
]

Ints = NDArray[np.int64]
_SENT = tuple(OUTCOME_KINDS.index(kind) for kind in (OutcomeKind.NUDGE_SENT, OutcomeKind.REMINDER_SENT))


@dataclass(slots=True)
class StoredRows:
    """LEARNER rows ``(n,)`` and SKILL rows ``(m,)``; ``owner (m,)`` is the index of each skill's learner."""

    rows: NDArray[np.void]
    skills: NDArray[np.void]
    owner: Ints
    names: list[str]
    topics: list[str | None]
    index: dict[tuple[int, str], int]

    def states(self, owner: Ints, names: list[tuple[str, ...]]) -> compute.States:
        """Look up skills: see `lyo.models.predictions.compute.LookUp`."""
        of = [place for place, asked_names in enumerate(names) for _ in asked_names]
        whose = owner[of].tolist() if of else []
        flat_names = [name for asked_names in names for name in asked_names]
        places = [self.index.get(key, -1) for key in zip(whose, flat_names, strict=True)]
        indexes = np.array(places, np.int64)
        practised = indexes >= 0
        states = np.zeros(len(indexes), MEMORY)
        states[practised] = self.skills["now"][indexes[practised]]
        return np.array(of, np.int64), states, practised

    def as_of(self, catalogue: Catalogue, at: int | Ints, places: list[int] | None = None) -> Group:
        """The learners as of an instant in ms, or one for each; `places` selects learners by index."""
        rows = self.rows if places is None else self.rows[places]
        return compute.group(rows, np.maximum(rows["newest"], at), catalogue)


def of_values(
    users: Sequence[int],
    values: Sequence[bytes | None],
    skills: Sequence[tuple[int, str, bytes]] = (),
    organizations: Sequence[int | None] | None = None,
) -> StoredRows:
    """Decode stored rows.

    Args:
        users: learners ``(n,)``; a learner may occur more than once.
        values: each learner's stored LEARNER row ``(n,)``; None: the learner has none.
        skills: SKILL rows as place in `users`, skill and bytes.
        organizations: organizations ``(n,)``, used for learners without a row.

    Raises:
        LayoutError: a row that this version cannot read.
    """
    rows = empty_learners(np.array(users, np.int64))
    if organizations is not None:
        rows["organization"] = [organization or 0 for organization in organizations]
    known = [place for place, value in enumerate(values) if value is not None]
    if known:
        rows[known] = layout.decode_learners([value for value in values if value is not None])
    owner = [place for place, _, _ in skills]
    names = [name for _, name, _ in skills]
    decoded, topics = (
        layout.decode_skills([value for _, _, value in skills]) if skills else (np.zeros(0, SKILL), [])
    )
    index = {key: number for number, key in enumerate(zip(owner, names, strict=True))}
    return StoredRows(rows, decoded, np.array(owner, np.int64), names, topics, index)


def struggles(
    stored: StoredRows, learners: Group, catalogue: Catalogue, whose: Ints, requests: list[Request]
) -> Predictions:
    """Answers to requests ``(k,)`` of learners ``whose (k,)``."""
    return of_requests(learners, whose, whose, requests, catalogue, stored.states)


def skill_predictions(
    stored: StoredRows,
    catalogue: Catalogue,
    at: int | Ints,
    places: list[int] | None = None,
    kinds: Sequence[PredictionKind] = ABOUT_SKILLS,
) -> list[tuple[Ints, Predictions]]:
    """For each kind the learners' indexes ``(m,)`` and the predictions ``(m,)`` about their skills.

    `at` is an instant in ms, or one for each learner; `places` selects learners by index.
    """
    skills, owner, rows = _report(stored, at, places)
    if len(owner):
        compute.name_weak(skills, owner, catalogue, stored.states)
    return [(owner, of_skills(kind, skills, rows, catalogue)) for kind in kinds]


def _report(
    stored: StoredRows, at: int | Ints, places: list[int] | None
) -> tuple[Skills, Ints, NDArray[np.void]]:
    due = compute.reportable(stored.skills["now"])
    if places is not None:
        due &= np.isin(stored.owner, places)
    chosen = np.flatnonzero(due)
    states, owner = stored.skills["now"][chosen], stored.owner[chosen]
    rows = stored.rows[owner]
    moments = np.broadcast_to(np.asarray(at, np.int64), len(stored.rows))
    as_of = np.maximum(states["last_at"], moments[owner])
    skills = Skills(
        states=states,
        users=rows["user"],
        organizations=rows["organization"],
        names=[stored.names[place] for place in chosen.tolist()],
        topics=[stored.topics[place] for place in chosen.tolist()],
        as_of=as_of,
        weak=[None] * len(chosen),
        learners=calibrate(rows, as_of),
    )
    return skills, owner, rows


def studied(learners: Group, learner: int, at: int) -> bool:
    """Whether one learner, by index, was active on the local day of an instant in ms."""
    past = learners.past
    day = int(learners.zones.local_days(np.array([at]), np.array([learner]))[0])
    busy = (past.who == learner) & (past.day == day)
    return bool((busy & ((past.sessions > 0) | (past.half > 0))).any())


def limits_of(learners: Group, learner: int, catalogue: Catalogue, at: int) -> Limits:
    """The limits on times for one learner, by index: own preferences, else the organization's.

    The row holds only the newest nudge and the newest reminder, so at most two of today's count.
    """
    row = learners.rows[learner]
    limits = compute.limits_by(row, catalogue)
    sent = (row["outcome_at"][list(_SENT)].astype(np.int64) - 1) * 1_000
    days = learners.zones.local_days(np.append(sent, at), np.full(len(sent) + 1, learner))
    return Limits(
        limits.quiet_from,
        limits.quiet_to,
        limits.most_per_day,
        int(((sent >= 0) & (days[:-1] == days[-1])).sum()),
    )


def check_time(learners: Group, learner: int, at: int, catalogue: Catalogue) -> TimeCheck:
    """Whether an instant in ms is a good time for one learner, by index, why, and when the next one is."""
    return check(learners.profile, learner, at, *_context(learners, learner, at, catalogue))


def is_good(learners: Group, learner: int, at: int, catalogue: Catalogue) -> bool:
    """Whether `check_time` calls an instant in ms a good time."""
    return send_time.is_good(learners.profile, learner, at, *_context(learners, learner, at, catalogue))


def _context(learners: Group, learner: int, at: int, catalogue: Catalogue) -> tuple[Zones, bool, Limits]:
    zones = Zones([learners.zones.names[learner]])
    return zones, studied(learners, learner, at), limits_of(learners, learner, catalogue, at)
