"""What is asked about learners, read from Postgres and computed, for one as for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.events.decode import milliseconds
from lyo.models.formulas.send_time import Moment
from lyo.models.predictions import from_rows
from lyo.models.predictions.compute import Group
from lyo.models.predictions.from_rows import Stored, of_values
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
    "Asked",
    "Seen",
    "default_names",
    "many",
    "moments",
    "one",
    "struggles",
]


LAG_MS: Final = 30_000
"""Rows that are further behind the moment asked about are stale; a watermark moves on every few seconds."""


@lru_cache(maxsize=1)
def default_names() -> Names:
    """The topics' names under the environment's settings."""
    return topics.names(Settings())


def moments(at: int | None, now: int | None) -> tuple[int, int]:
    """The moment asked about, and the caller's clock, each standing in for the other."""
    if at is None and now is None:
        raise ValueError("at or now: one of them is needed, since nothing here reads a clock")
    moment = now if at is None else at
    clock = at if now is None else now
    assert moment is not None
    assert clock is not None
    return moment, clock


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a learner: for which tenant (None: for any), as of when, asked when (both in ms).

    kinds: the predictions asked for. A request is not among them: `struggles` answers it, for which the
    skills are read.
    own: the learner asks; a learner of no organization is then not hidden from a tenant's token.
    """

    user_id: int
    organization: int | None
    at: int
    now: int
    kinds: tuple[PredictionKind, ...] = ()
    own: bool = False


@dataclass(slots=True)
class Seen:
    """A learner as stored, with the predictions asked for; one not known, or not to be seen, has no row.

    Attributes:
        asked: the question.
        row: what Postgres has of the learner, with numbers and outcomes of stored episodes; {} if nothing.
        foreign: the learner belongs to another tenant than the one asked for.
        complete_until: up to when everything published of the learner is in the row (ms); None: not known.
        unanswered: a question asked over a minute ago has not come back through the stream.
        catalogue: as it is now.
        records: of each kind asked for, the learner's or the learner's skills'.
        learners: those computed together, as of the moment asked about; this one is the `place`th.
    """

    asked: Asked
    row: Row
    foreign: bool
    complete_until: int | None
    unanswered: bool
    catalogue: Catalogue
    records: dict[str, list[Any]] = field(default_factory=dict)
    learners: Group | None = None
    place: int = 0

    def judged(self) -> Moment:
        """Whether the instant asked about is a good time."""
        return from_rows.moment(self._group, self.place, self.asked.at, self.catalogue)

    def is_good(self) -> bool:
        """Whether `judged` calls the instant asked about a good time."""
        return from_rows.is_good(self._group, self.place, self.asked.at, self.catalogue)

    def studied(self) -> bool:
        """Whether the learner did something on the local day of the instant asked about."""
        return from_rows.studied(self._group, self.place, self.asked.at)

    @property
    def _group(self) -> Group:
        assert self.learners is not None, "no prediction about the learner was asked for"
        return self.learners

    @property
    def completeness(self) -> dict[str, Any]:
        """What an answer says of it: `stale`, and of rows that lag behind also `as_of`."""
        until = self.complete_until
        if until is None or min(self.asked.at, self.asked.now) - until <= LAG_MS:
            return {"stale": True if self.unanswered else None if until is None else False}
        return {"stale": True, "as_of": text_of(until)}

    @property
    def organization(self) -> int | None:
        """The learner's organization; the caller's for one of whom nothing is known."""
        return self.row["organization_id"] if self.row else self.asked.organization

    @property
    def owner(self) -> int | None:
        """The organization that what is recorded of the learner names: the learner's, else the caller's."""
        return self.organization or self.asked.organization

    @property
    def owned(self) -> bool:
        """Whether whoever asks may decide about the learner: who may see all, the learner, the row's tenant.

        A tenant may not of a learner of whom nothing is known, or who has no organization.
        """
        asked = self.asked
        return not self.foreign and (asked.organization is None or asked.own or bool(self.row))


async def one(db: AsyncSession, asked: Asked, names: Names | None) -> Seen:
    """The learner asked about.

    Raises:
        LayoutError: a row that this version cannot read.
    """
    (seen,) = await many(db, [asked], names)
    return seen


async def many(db: AsyncSession, asked: Sequence[Asked], names: Names | None) -> list[Seen]:
    """The learners asked about ``(n,)``, in one query and one pass over columns for each part.

    Raises:
        LayoutError: a row that this version cannot read.
    """
    known = names or default_names()
    wanted = [
        lookups.Wanted(
            each.user_id, each.organization, each.now, any(kind.subject for kind in each.kinds), each.own
        )
        for each in asked
    ]
    found = await lookups.learners(db, wanted, list(known.catalogue))
    rows = found.rows
    catalogue = await catalogue_cache.current(db, known, found.stamp)
    mine = {row["place"]: row for row in rows if row["mine"]}
    foreign = {row["place"] for row in rows if row["foreign"]}
    of = of_values(
        [each.user_id for each in asked],
        [mine[place]["row"] if place in mine else None for place in range(len(asked))],
        [
            (place, name, value)
            for place, row in mine.items()
            for name, value in zip(row["skill_names"] or (), row["skill_rows"] or (), strict=True)
        ],
        [each.organization for each in asked],
    )
    seen = []
    for place, each in enumerate(asked):
        row = mine.get(place, {})
        until = row["complete_until"] if row else found.complete_until
        unanswered = bool(row and row["unanswered"])
        complete_until = None if until is None else milliseconds(until)
        seen.append(Seen(each, row, place in foreign, complete_until, unanswered, catalogue))
    _compute(seen, of)
    return seen


def _asking(seen: Sequence[Seen], kinds: Sequence[PredictionKind]) -> tuple[list[int], list[PredictionKind]]:
    """The places of those who ask for some of the kinds, and the kinds that any of them asks for."""
    places = [place for place, each in enumerate(seen) if not set(kinds).isdisjoint(each.asked.kinds)]
    return places, [kind for kind in kinds if any(kind in seen[place].asked.kinds for place in places)]


def _compute(seen: Sequence[Seen], of: Stored) -> None:
    """Fill in the predictions that were asked for."""
    catalogue, at = seen[0].catalogue, np.array([each.asked.at for each in seen], np.int64)
    places, kinds = _asking(seen, ABOUT_LEARNERS)
    if places:
        learners = of.as_of(catalogue, at[places], places)
        records = {kind.name: of_learners(kind, learners).records for kind in kinds}
        for number, place in enumerate(places):
            seen[place].learners, seen[place].place = learners, number
            seen[place].records |= {name: [found[number]] for name, found in records.items()}
    places, kinds = _asking(seen, ABOUT_SKILLS)
    if places:
        for place in places:
            seen[place].records |= {kind.name: [] for kind in kinds}
        for owner, found in from_rows.skill_predictions(of, catalogue, at, places, kinds):
            for place, record in zip(owner.tolist(), found.records, strict=True):
                if record is not None:
                    seen[place].records[found.kind.name].append(record)


def struggles(seen: Seen, requests: list[Request]) -> Predictions:
    """Answers to questions of the one learner seen, who was asked about with `STRUGGLE`."""
    asked, row, catalogue = seen.asked, seen.row, seen.catalogue
    for request in requests:
        request.resolve(catalogue, seen.organization or 0)
    names, rows = row.get("skill_names") or (), row.get("skill_rows") or ()
    skills = [(0, name, value) for name, value in zip(names, rows, strict=True)]
    mine = of_values([asked.user_id], [row.get("row")], skills, [asked.organization])
    whose = np.zeros(len(requests), np.int64)
    return from_rows.struggles(mine, mine.as_of(catalogue, asked.at), catalogue, whose, requests)
