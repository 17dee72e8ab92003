"""From Postgres to what the models take: learners' rows, their skills, and the catalogue."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncSession

from models import stored
from models.catalogue import Catalogue
from models.events import Kind, milliseconds
from models.questions import Request
from models.stored import Record, Stored, of_values, overdue
from storage import lookups
from storage.queries import Row
from streams import topics
from streams.settings import Settings
from streams.topics import Names

__all__ = ["Found", "default_names", "is_foreign", "learners", "moments", "struggles"]

COSTLY_S: Final = 0.02
"""A look at what is new in the catalogue that takes longer than this is not taken before every answer."""
_PAUSE: Final = 10.0


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


@dataclass(slots=True)
class Found:
    """Learners as they are stored. Those who are not known, or not to be seen, have empty rows."""

    users: list[int]
    organization: int | None
    stored: Stored
    catalogue: Catalogue
    rows: dict[int, Row]  # by user, of those who may be seen
    foreign: set[int]
    values: list[bytes | None]
    places: dict[int, int]  # of users in the rows

    def row(self, user_id: int) -> Row:
        """The learner's row in Postgres; {} if unknown."""
        return self.rows.get(user_id, {})

    def organization_of(self, user_id: int) -> int | None:
        """The learner's organization; the caller's for one of whom nothing is known."""
        row = self.rows.get(user_id)
        return self.organization if row is None else row["organization_id"]

    def stale(self, user_id: int, now: int) -> bool:
        """Whether what is stored is known to be behind, at the caller's `now` in ms.

        Either the stream has not been over this active learner at the end of the day, or a question that was
        asked over a minute ago has not come back through it.
        """
        row = self.rows.get(user_id)
        if row is None:
            return False
        if row["unanswered"]:
            return True
        until: datetime | None = row["valid_until"]
        if until is None:
            return False
        return overdue(self.stored.rows[self.places[user_id]], milliseconds(until), now)


async def learners(
    db: AsyncSession,
    users: Sequence[int],
    organization: int | None,
    now: int,
    names: Names | None,
    *,
    with_skills: bool = False,
) -> Found:
    """Learners' rows, with all their skills if wanted, in one query; and the catalogue as it is now.

    Raises:
        LayoutError: a row that this version cannot read.
    """
    known = names or default_names()
    stamp, rows = await lookups.learners(
        db, users, organization, now, list(known.catalogue), skills=with_skills
    )
    books = await _catalogue(db, known, stamp)
    seen = {row["user_id"]: row for row in rows if row["mine"]}
    values = [seen[user]["row"] if user in seen else None for user in users]
    return Found(
        users=list(users),
        organization=organization,
        stored=of_values(users, values, _skills_of(seen) if with_skills else (), organization),
        catalogue=books,
        rows=seen,
        foreign={row["user_id"] for row in rows if row["foreign"]},
        values=values,
        places={user: place for place, user in enumerate(users)},
    )


async def is_foreign(db: AsyncSession, *, user_id: int, organization: int | None) -> bool:
    """Whether this learner is known and belongs to another organization: a caller to refuse."""
    now = 0  # asked of who the learner is, not of what is stored when
    _, rows = await lookups.learners(db, [user_id], organization, now, ())
    return any(row["foreign"] for row in rows)


def _skills_of(rows: dict[int, Row]) -> list[tuple[int, str, bytes]]:
    return [
        (user, name, value)
        for user, row in rows.items()
        for name, value in zip(row["skill_names"] or (), row["skill_rows"] or (), strict=True)
    ]


async def _with_skills(db: AsyncSession, found: Found, names: Iterable[str]) -> Stored:
    """The same learners with these of their skills, in one query."""
    wanted, seen = sorted(set(names)), list(found.rows)
    rows = await lookups.skills(db, seen, wanted) if seen and wanted else []
    return of_values(found.users, found.values, rows, found.organization)


async def struggles(db: AsyncSession, found: Found, asked: list[Request], at: int) -> list[Record]:
    """Answers to questions of the one learner found, as of an instant in ms."""
    organization = int(found.stored.rows["organization"][0])
    while True:
        books, revision = found.catalogue, found.catalogue.revision
        for request in asked:
            request.resolve(books, organization)
        wanted = {name for request in asked for name in (*request.prerequisites, *request.similar)}
        mine = await _with_skills(db, found, wanted)
        if books.revision == revision:  # else other skills may be wanted by now
            break
    whose = np.zeros(len(asked), np.int64)
    return stored.struggles(mine, mine.as_of(books, at), books, whose, asked)


# -- the catalogue -----------------------------------------------------------------------------------------

_Positions = dict[str, tuple[int, int]]


@dataclass(slots=True)
class _Books:
    """The catalogue of one database, as far as it has been read."""

    catalogue: Catalogue = field(default_factory=Catalogue)
    stamp: str | None = None
    positions: _Positions = field(default_factory=dict)
    reading: bool = False
    not_before: float = 0.0


_books: WeakKeyDictionary[Any, dict[str, _Books]] = WeakKeyDictionary()


async def _catalogue(db: AsyncSession, names: Names, stamp: str) -> Catalogue:
    """The catalogue, read whole at first, then what has changed since; `stamp` tells if anything has."""
    books = _of_database(db).setdefault(names.prefix, _Books())
    if books.stamp is not None:
        if books.stamp == stamp:
            return books.catalogue
        # What is known is good enough while somebody reads the rest, or has done so just now at some cost.
        if books.reading or time.monotonic() < books.not_before:
            return books.catalogue
    books.reading = True
    began = time.monotonic()
    try:
        await _read(db, names, books, stamp)
    finally:
        books.reading = False
    took = time.monotonic() - began
    books.not_before = began + took * (1 + _PAUSE) if took > COSTLY_S else 0.0
    return books.catalogue


def _of_database(db: AsyncSession) -> dict[str, _Books]:
    bind: Engine | Connection = db.sync_session.get_bind()
    return _books.setdefault(bind.engine, {})


async def _read(db: AsyncSession, names: Names, books: _Books, stamp: str) -> None:
    positions = _positions(stamp)
    since = _since(books, positions, names)
    if since is not None:
        records, counts = await lookups.catalogue(db, *since)
        _put(books.catalogue, records)
        if (len(books.catalogue.contents), len(books.catalogue.organizations)) != counts:
            since = None  # something was deleted
    if since is None:
        records, _ = await lookups.catalogue(db, None, None)
        whole = Catalogue()
        _put(whole, records)
        books.catalogue = whole
    books.stamp, books.positions = stamp, positions


def _since(books: _Books, positions: _Positions, names: Names) -> tuple[int, int] | None:
    """The offsets up to which both topics were read; None if that says nothing of what is stored now."""
    if books.stamp is None or positions.keys() != books.positions.keys():
        return None
    for topic, (offset, epoch) in positions.items():
        before = books.positions[topic]
        if offset < before[0] or epoch != before[1]:
            return None
    if not positions:
        return None
    topics_of = [names.topic(kind) for kind in (Kind.CONTENT, Kind.ORGANIZATION)]
    content, organization = (books.positions.get(topic, (0, 0))[0] for topic in topics_of)
    return content, organization


def _positions(stamp: str) -> _Positions:
    words = stamp.split()
    return {
        topic: (int(offset), int(epoch))
        for topic, offset, epoch in zip(words[::3], words[1::3], words[2::3], strict=True)
    }


def _put(catalogue: Catalogue, records: Sequence[tuple[str, str, bytes]]) -> None:
    for kind, key, document in records:
        catalogue.put(Kind(kind), key.encode(), document)
