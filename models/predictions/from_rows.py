"""Predictions about learners whose rows come from a store, at any moment, by the code that the stream uses.

An instant before a row's newest event counts as that event's: what has happened cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import Zones
from lyo.models.events.types import OutcomeKind
from lyo.models.formulas import send_time as moments
from lyo.models.formulas.send_time import Limits, Moment, check
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
    "Stored",
    "is_good",
    "limits_of",
    "moment",
    "of_values",
    "skill_predictions",
    "struggles",
    "studied",
]

Ints = NDArray[np.int64]
_SENT = tuple(OUTCOME_KINDS.index(kind) for kind in (OutcomeKind.NUDGE_SENT, OutcomeKind.REMINDER_SENT))


@dataclass(slots=True)
class Stored:
    """LEARNER rows of ``n`` learners and SKILL rows ``(m,)`` of them; ``owner (m,)`` says whose each is."""

    rows: NDArray[np.void]
    skills: NDArray[np.void]
    owner: Ints
    names: list[str]
    topics: list[str | None]
    index: dict[tuple[int, str], int]

    def states(self, owner: Ints, names: list[tuple[str, ...]]) -> compute.States:
        """Look up skills: see `lyo.models.predictions.compute.LookUp`."""
        of = [one for one, each in enumerate(names) for _ in each]
        whose = owner[of].tolist() if of else []
        wanted = [name for each in names for name in each]
        places = [self.index.get(key, -1) for key in zip(whose, wanted, strict=True)]
        found = np.array(places, np.int64)
        seen = found >= 0
        states = np.zeros(len(found), MEMORY)
        states[seen] = self.skills["now"][found[seen]]
        return np.array(of, np.int64), states, seen

    def as_of(self, catalogue: Catalogue, at: int | Ints, places: list[int] | None = None) -> Group:
        """The learners at an instant in ms, or at one of their own each; those at `places` if given."""
        rows = self.rows if places is None else self.rows[places]
        return compute.group(rows, np.maximum(rows["newest"], at), catalogue)


def of_values(
    users: Sequence[int],
    values: Sequence[bytes | None],
    skills: Sequence[tuple[int, str, bytes]] = (),
    organizations: Sequence[int | None] | None = None,
) -> Stored:
    """Rows from the bytes that are stored of them.

    Args:
        users: learners ``(n,)``; one may be there more than once.
        values: each one's LEARNER row; None: nothing is known of this learner.
        skills: SKILL rows as place in `users`, skill and bytes.
        organizations: of the learners of whom nothing is known ``(n,)``.

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
    return Stored(rows, decoded, np.array(owner, np.int64), names, topics, index)


def struggles(
    stored: Stored, learners: Group, catalogue: Catalogue, whose: Ints, requests: list[Request]
) -> Predictions:
    """Answers to requests ``(k,)`` of learners ``whose (k,)``."""
    return of_requests(learners, whose, whose, requests, catalogue, stored.states)


def skill_predictions(
    stored: Stored,
    catalogue: Catalogue,
    at: int | Ints,
    places: list[int] | None = None,
    kinds: Sequence[PredictionKind] = ABOUT_SKILLS,
) -> list[tuple[Ints, Predictions]]:
    """Of each kind what it says of the learners' skills ``(m,)``, and whose each skill is ``(m,)``.

    `at` is an instant in ms, or one of each learner's own; only those at `places` are asked about, if given.
    """
    skills, owner, rows = _report(stored, at, places)
    if len(owner):
        compute.name_weak(skills, owner, catalogue, stored.states)
    return [(owner, of_skills(kind, skills, rows, catalogue)) for kind in kinds]


def _report(
    stored: Stored, at: int | Ints, places: list[int] | None
) -> tuple[Skills, Ints, NDArray[np.void]]:
    due = compute.reportable(stored.skills["now"])
    if places is not None:
        due &= np.isin(stored.owner, places)
    chosen = np.flatnonzero(due)
    states, owner = stored.skills["now"][chosen], stored.owner[chosen]
    rows = stored.rows[owner]
    moments = np.broadcast_to(np.asarray(at, np.int64), len(stored.rows))
    skills = Skills(
        states=states,
        users=rows["user"],
        organizations=rows["organization"],
        names=[stored.names[place] for place in chosen.tolist()],
        topics=[stored.topics[place] for place in chosen.tolist()],
        as_of=np.maximum(states["last_at"], moments[owner]),
        weak=[None] * len(chosen),
    )
    return skills, owner, rows


def studied(learners: Group, one: int, at: int) -> bool:
    """Whether a learner did something on the local day of an instant in ms."""
    past = learners.past
    day = int(learners.zones.local_days(np.array([at]), np.array([one]))[0])
    busy = (past.who == one) & (past.day == day)
    return bool((busy & ((past.sessions > 0) | (past.half > 0))).any())


def limits_of(learners: Group, one: int, catalogue: Catalogue, at: int) -> Limits:
    """What forbids a moment for a learner: own preferences, else the organization's.

    Of what was sent today the row knows the newest nudge and the newest reminder, so it counts up to two.
    """
    row = learners.rows[one]
    given = compute.limits_by(row, catalogue)
    sent = (row["outcome_at"][list(_SENT)].astype(np.int64) - 1) * 1_000
    days = learners.zones.local_days(np.append(sent, at), np.full(len(sent) + 1, one))
    return Limits(
        given.quiet_from,
        given.quiet_to,
        given.most_per_day,
        int(((sent >= 0) & (days[:-1] == days[-1])).sum()),
    )


def moment(learners: Group, one: int, at: int, catalogue: Catalogue) -> Moment:
    """Whether an instant in ms is a good time for one of the learners, why, and when the next one is."""
    return check(learners.profile, one, at, *_about_moment(learners, one, at, catalogue))


def is_good(learners: Group, one: int, at: int, catalogue: Catalogue) -> bool:
    """Whether `moment` calls an instant in ms a good time."""
    return moments.is_good(learners.profile, one, at, *_about_moment(learners, one, at, catalogue))


def _about_moment(learners: Group, one: int, at: int, catalogue: Catalogue) -> tuple[Zones, bool, Limits]:
    zones = Zones([learners.zones.names[one]])
    return zones, studied(learners, one, at), limits_of(learners, one, catalogue, at)
