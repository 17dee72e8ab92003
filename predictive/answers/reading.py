"""What is asked about learners, read from Postgres and computed, for one as for many."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.events.decode import milliseconds
from lyo.models.formulas.send_time import Moment
from lyo.models.formulas.timing import TimingProfile
from lyo.models.predictions import from_rows
from lyo.models.predictions.compute import Group
from lyo.models.predictions.from_rows import Record, Stored, of_values
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
    "Part",
    "Rhythm",
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


class Part(enum.Flag):
    """What is to be computed of a learner, besides the row."""

    NOTHING = 0
    RISK = enum.auto()
    TIMING = enum.auto()
    PLATEAUS = enum.auto()
    REGRESSIONS = enum.auto()
    SKILLS = enum.auto()
    """Nothing computed; what `struggles` needs of the skills."""


_SKILLS: Final = Part.PLATEAUS | Part.REGRESSIONS | Part.SKILLS
_ROW_ALONE: Final = Part.RISK | Part.TIMING


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a learner: for which tenant (None: for any), as of when, asked when (both in ms).

    own: the learner asks; a learner of no organization is then not hidden from a tenant's token.
    """

    user_id: int
    organization: int | None
    at: int
    now: int
    parts: Part = Part.NOTHING
    own: bool = False


@dataclass(slots=True)
class Seen:
    """A learner as stored, with the parts that were asked for; one not known, or not to be seen, has no row.

    Attributes:
        asked: the question.
        row: what Postgres has of the learner, with numbers and outcomes of stored episodes; {} if nothing.
        foreign: the learner belongs to another tenant than the one asked for.
        complete_until: up to when everything published of the learner is in the row (ms); None: not known.
        unanswered: a question asked over a minute ago has not come back through the stream.
        catalogue: as it is now.
        risk: the dropout risk.
        rhythm: the timing profile.
        plateaus, regressions: records of the learner's skills.
    """

    asked: Asked
    row: Row
    foreign: bool
    complete_until: int | None
    unanswered: bool
    catalogue: Catalogue
    risk: Record | None = None
    rhythm: Rhythm | None = None
    plateaus: list[Record] = field(default_factory=list)
    regressions: list[Record] = field(default_factory=list)

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


@dataclass(slots=True)
class Rhythm:
    """A timing record, and what moments are judged by: it is the `one`th of those computed together."""

    record: Record
    one: int
    learners: Group
    profile: TimingProfile

    def judged(self, at: int, catalogue: Catalogue) -> Moment:
        """Whether an instant in ms is a good time."""
        return from_rows.moment(self.learners, self.profile, self.one, at, catalogue)

    def is_good(self, at: int, catalogue: Catalogue) -> bool:
        """Whether `judged` calls an instant in ms a good time."""
        return from_rows.is_good(self.learners, self.profile, self.one, at, catalogue)

    def studied(self, at: int) -> bool:
        """Whether the learner did something on the local day of an instant in ms."""
        return from_rows.studied(self.learners, self.one, at)


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
        lookups.Wanted(each.user_id, each.organization, each.now, bool(each.parts & _SKILLS), each.own)
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


def _asking(seen: Sequence[Seen], parts: Part) -> list[int]:
    return [place for place, each in enumerate(seen) if each.asked.parts & parts]


def _compute(seen: Sequence[Seen], of: Stored) -> None:
    """Fill in the parts that were asked for."""
    catalogue, at = seen[0].catalogue, np.array([each.asked.at for each in seen], np.int64)
    if places := _asking(seen, _ROW_ALONE):
        _compute_from_rows([seen[place] for place in places], of.as_of(catalogue, at[places], places))
    if places := _asking(seen, Part.PLATEAUS):
        for each, found in zip(seen, from_rows.plateaus(of, catalogue, at, places), strict=True):
            each.plateaus = found
    if places := _asking(seen, Part.REGRESSIONS):
        for each, found in zip(seen, from_rows.regressions(of, catalogue, at, places), strict=True):
            each.regressions = found


def _compute_from_rows(seen: Sequence[Seen], learners: Group) -> None:
    if _asking(seen, Part.RISK):
        for each, risk in zip(seen, from_rows.dropout_risks(learners), strict=True):
            each.risk = risk
    if _asking(seen, Part.TIMING):
        records, profile = from_rows.timing_profiles(learners)
        for number, (each, record) in enumerate(zip(seen, records, strict=True)):
            each.rhythm = Rhythm(record, number, learners, profile)


def struggles(seen: Seen, requests: list[Request]) -> list[Record]:
    """Answers to questions of the one learner seen, who was read with `Part.SKILLS`."""
    asked, row, catalogue = seen.asked, seen.row, seen.catalogue
    for request in requests:
        request.resolve(catalogue, seen.organization or 0)
    names, rows = row.get("skill_names") or (), row.get("skill_rows") or ()
    skills = [(0, name, value) for name, value in zip(names, rows, strict=True)]
    mine = of_values([asked.user_id], [row.get("row")], skills, [asked.organization])
    whose = np.zeros(len(requests), np.int64)
    return from_rows.struggles(mine, mine.as_of(catalogue, asked.at), catalogue, whose, requests)
