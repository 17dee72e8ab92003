"""Reads learners from Postgres and computes the predictions that were asked for, many learners at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.events.decode import milliseconds
from lyo.models.formulas.send_time import TimeCheck
from lyo.models.predictions import from_rows
from lyo.models.predictions.compute import Group
from lyo.models.predictions.from_rows import StoredRows, of_values
from lyo.models.predictions.kinds import (
    ABOUT_LEARNERS,
    ABOUT_SKILLS,
    PredictionKind,
    Predictions,
    of_learners,
)
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.struggle_requests import Request
from lyo.predictive.answers import catalogue_cache
from lyo.predictive.answers.responses import text_of
from lyo.storage.reads import lookups
from lyo.storage.reads.queries import Row
from lyo.streams import topics
from lyo.streams.settings import Settings
from lyo.streams.topics import Names

__all__ = [
    "LAG_MS",
    "LearnerQuery",
    "LearnerSnapshot",
    "default_names",
    "many",
    "moments",
    "one",
    "struggles",
]


LAG_MS: Final = 30_000
"""Rows whose watermark is further behind the moment asked about are stale; it advances every few seconds."""


@lru_cache(maxsize=1)
def default_names() -> Names:
    """The topics' names under the environment's settings."""
    return topics.names(Settings())


def moments(at: int | None, now: int | None) -> tuple[int, int]:
    """The moment asked about and the caller's clock, in ms; where one is None, the other is taken for both.

    Raises:
        ValueError: both are None.
    """
    if at is None and now is None:
        raise ValueError("at or now: one of them is needed, since nothing here reads a clock")
    asked_about = now if at is None else at
    clock = at if now is None else now
    assert asked_about is not None
    assert clock is not None
    return asked_about, clock


@dataclass(frozen=True, slots=True)
class LearnerQuery:
    """What is asked about a learner.

    Attributes:
        user_id: the learner.
        organization: the tenant that the caller is restricted to; None: any.
        at: the moment asked about, ms.
        now: the caller's clock, ms.
        kinds: the predictions to compute. For `STRUGGLE` the skills are read, and `struggles` answers.
        own: the caller is the learner; a tenant's token then shows a learner without an organization, too.
    """

    user_id: int
    organization: int | None
    at: int
    now: int
    kinds: tuple[PredictionKind, ...] = ()
    own: bool = False


@dataclass(slots=True)
class LearnerSnapshot:
    """A learner as stored, with the predictions asked for. An unknown or foreign learner has no row.

    Attributes:
        query: what was asked.
        row: what Postgres has of the learner, with numbers and outcomes of stored episodes; {} if nothing.
        foreign: the learner belongs to another tenant than the one asked for.
        complete_until: everything published of the learner up to then is in the row (ms); None: not known.
        unanswered: a struggle request of over a minute ago has not come back through the stream.
        catalogue: as it is now.
        records: by kind, the records of the learner or of the learner's skills.
        group: the learners that were computed in one pass, as of the moment asked about.
        place: this learner's index in `group`.
    """

    query: LearnerQuery
    row: Row
    foreign: bool
    complete_until: int | None
    unanswered: bool
    catalogue: Catalogue
    records: dict[str, list[Any]] = field(default_factory=dict)
    group: Group | None = None
    place: int = 0

    def judged(self) -> TimeCheck:
        """Whether the instant asked about is a good time."""
        return from_rows.check_time(self._group, self.place, self.query.at, self.catalogue)

    def is_good(self) -> bool:
        """Whether `judged` calls the instant asked about a good time."""
        return from_rows.is_good(self._group, self.place, self.query.at, self.catalogue)

    def studied(self) -> bool:
        """Whether the learner did something on the local day of the instant asked about."""
        return from_rows.studied(self._group, self.place, self.query.at)

    @property
    def _group(self) -> Group:
        assert self.group is not None, "no prediction about the learner was asked for"
        return self.group

    @property
    def completeness(self) -> dict[str, Any]:
        """The fields that say how complete an answer is: `stale`, and where rows lag behind also `as_of`."""
        until = self.complete_until
        if until is None or min(self.query.at, self.query.now) - until <= LAG_MS:
            return {"stale": True if self.unanswered else None if until is None else False}
        return {"stale": True, "as_of": text_of(until)}

    @property
    def organization(self) -> int | None:
        """The learner's organization; the caller's, if nothing is known of the learner."""
        return self.row["organization_id"] if self.row else self.query.organization

    @property
    def owner(self) -> int | None:
        """The organization that recorded events of the learner name: the learner's, else the caller's."""
        return self.organization or self.query.organization

    @property
    def owned(self) -> bool:
        """Whether the caller may decide about the learner.

        The learner may, a caller without a tenant, and the tenant that the row names. A tenant may not if
        nothing is known of the learner, or the learner has no organization.
        """
        query = self.query
        return not self.foreign and (query.organization is None or query.own or bool(self.row))


async def one(db: AsyncSession, query: LearnerQuery, names: Names | None) -> LearnerSnapshot:
    """The learner asked about.

    Raises:
        LayoutError: a row that this version cannot read.
    """
    (learner,) = await many(db, [query], names)
    return learner


async def many(
    db: AsyncSession, queries: Sequence[LearnerQuery], names: Names | None
) -> list[LearnerSnapshot]:
    """The learners asked about ``(n,)``, in one SQL query and one pass over columns for each subject.

    Raises:
        LayoutError: a row that this version cannot read.
    """
    known = names or default_names()
    keys = [
        lookups.Wanted(
            query.user_id, query.organization, query.now, any(kind.subject for kind in query.kinds), query.own
        )
        for query in queries
    ]
    stored = await lookups.learners(db, keys, list(known.catalogue))
    rows = stored.rows
    catalogue = await catalogue_cache.current(db, known, stored.stamp)
    mine = {row["place"]: row for row in rows if row["mine"]}
    foreign = {row["place"] for row in rows if row["foreign"]}
    rows_of = of_values(
        [query.user_id for query in queries],
        [mine[place]["row"] if place in mine else None for place in range(len(queries))],
        [
            (place, name, value)
            for place, row in mine.items()
            for name, value in zip(row["skill_names"] or (), row["skill_rows"] or (), strict=True)
        ],
        [query.organization for query in queries],
    )
    learners = []
    for place, query in enumerate(queries):
        row = mine.get(place, {})
        until = row["complete_until"] if row else stored.complete_until
        unanswered = bool(row and row["unanswered"])
        complete_until = None if until is None else milliseconds(until)
        learners.append(LearnerSnapshot(query, row, place in foreign, complete_until, unanswered, catalogue))
    _compute(learners, rows_of)
    return learners


def _asking(
    learners: Sequence[LearnerSnapshot], kinds: Sequence[PredictionKind]
) -> tuple[list[int], list[PredictionKind]]:
    """The indexes of the learners who were asked about some of the kinds, and the kinds asked for."""
    places = [
        place for place, learner in enumerate(learners) if not set(kinds).isdisjoint(learner.query.kinds)
    ]
    return places, [kind for kind in kinds if any(kind in learners[place].query.kinds for place in places)]


def _compute(snapshots: Sequence[LearnerSnapshot], stored: StoredRows) -> None:
    """Fill in the predictions that were asked for."""
    catalogue, at = snapshots[0].catalogue, np.array([snapshot.query.at for snapshot in snapshots], np.int64)
    places, kinds = _asking(snapshots, ABOUT_LEARNERS)
    if places:
        group = stored.as_of(catalogue, at[places], places)
        records = {kind.name: of_learners(kind, group).records for kind in kinds}
        for number, place in enumerate(places):
            snapshots[place].group, snapshots[place].place = group, number
            snapshots[place].records |= {name: [predictions[number]] for name, predictions in records.items()}
    places, kinds = _asking(snapshots, ABOUT_SKILLS)
    if places:
        for place in places:
            snapshots[place].records |= {kind.name: [] for kind in kinds}
        for owner, predictions in from_rows.skill_predictions(stored, catalogue, at, places, kinds):
            for place, record in zip(owner.tolist(), predictions.records, strict=True):
                if record is not None:
                    snapshots[place].records[predictions.kind.name].append(record)


def struggles(learner: LearnerSnapshot, requests: list[Request]) -> Predictions:
    """Struggle predictions ``(n,)`` for requests of one learner, who was read with `STRUGGLE`."""
    query, row, catalogue = learner.query, learner.row, learner.catalogue
    for request in requests:
        request.resolve(catalogue, learner.organization or 0)
    names, rows = row.get("skill_names") or (), row.get("skill_rows") or ()
    skills = [(0, name, value) for name, value in zip(names, rows, strict=True)]
    stored = of_values([query.user_id], [row.get("row")], skills, [query.organization])
    whose = np.zeros(len(requests), np.int64)
    return from_rows.struggles(stored, stored.as_of(catalogue, query.at), catalogue, whose, requests)
