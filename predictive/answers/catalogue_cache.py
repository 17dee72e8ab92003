"""The catalogue, held in memory for each database and kept as new as the answers' queries say it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.events.decode import Kind
from lyo.models.state.catalogue import Catalogue
from lyo.storage.reads import lookups
from lyo.streams.topics import Names

__all__ = ["COSTLY_S", "current"]

COSTLY_S: Final = 0.02
"""A look at what is new in the catalogue that takes longer than this is not taken before every answer."""
_PAUSE: Final = 10.0

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


async def current(db: AsyncSession, names: Names, stamp: str) -> Catalogue:
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
