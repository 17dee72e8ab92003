"""The catalogue in memory, one for each database, refreshed when a query of an answer shows a change."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.arrays.coefficients import Hazard
from lyo.models.events.decode import Kind
from lyo.models.state.catalogue import Catalogue
from lyo.storage.reads import lookups
from lyo.streams.model_files import fitted_hazard
from lyo.streams.settings import Settings
from lyo.streams.topics import Names

__all__ = ["COSTLY_S", "current", "fitted"]

COSTLY_S: Final = 0.02
"""A refresh (s) that took longer delays the next one by `_PAUSE` times as long."""
_PAUSE: Final = 10.0

_Positions = dict[str, tuple[int, int]]


@lru_cache(maxsize=1)
def fitted() -> Hazard | None:
    """What dropout risks are computed with under the environment's settings; read once."""
    return fitted_hazard(Settings().dropout_model)


@dataclass(slots=True)
class _Cached:
    """The catalogue of one database, as far as it has been read."""

    catalogue: Catalogue = field(default_factory=lambda: Catalogue(fitted()))
    stamp: str | None = None
    positions: _Positions = field(default_factory=dict)
    reading: bool = False
    not_before: float = 0.0


_caches: WeakKeyDictionary[Any, dict[str, _Cached]] = WeakKeyDictionary()


async def current(db: AsyncSession, names: Names, stamp: str) -> Catalogue:
    """The catalogue: read whole at first, later what has changed.

    Args:
        db: a session.
        names: the topics of the catalogue.
        stamp: topics, offsets and epochs up to which the sink has stored the catalogue.
    """
    cached = _of_database(db).setdefault(names.prefix, _Cached())
    if cached.stamp is not None:
        if cached.stamp == stamp:
            return cached.catalogue
        # The cached one will do while another request refreshes it, or just after a costly refresh.
        if cached.reading or time.monotonic() < cached.not_before:
            return cached.catalogue
    cached.reading = True
    began = time.monotonic()
    try:
        await _read(db, names, cached, stamp)
    finally:
        cached.reading = False
    took = time.monotonic() - began
    cached.not_before = began + took * (1 + _PAUSE) if took > COSTLY_S else 0.0
    return cached.catalogue


def _of_database(db: AsyncSession) -> dict[str, _Cached]:
    bind: Engine | Connection = db.sync_session.get_bind()
    return _caches.setdefault(bind.engine, {})


async def _read(db: AsyncSession, names: Names, cached: _Cached, stamp: str) -> None:
    positions = _positions(stamp)
    since = _since(cached, positions, names)
    if since is not None:
        records, counts = await lookups.catalogue(db, *since)
        _put(cached.catalogue, records)
        if (len(cached.catalogue.contents), len(cached.catalogue.organizations)) != counts:
            since = None  # something was deleted
    if since is None:
        records, _ = await lookups.catalogue(db, None, None)
        whole = Catalogue(fitted())
        _put(whole, records)
        cached.catalogue = whole
    cached.stamp, cached.positions = stamp, positions


def _since(cached: _Cached, positions: _Positions, names: Names) -> tuple[int, int] | None:
    """The offsets up to which both topics were read; None if the catalogue has to be read whole."""
    if cached.stamp is None or positions.keys() != cached.positions.keys():
        return None
    for topic, (offset, epoch) in positions.items():
        before = cached.positions[topic]
        if offset < before[0] or epoch != before[1]:
            return None
    if not positions:
        return None
    topics_of = [names.topic(kind) for kind in (Kind.CONTENT, Kind.ORGANIZATION)]
    content, organization = (cached.positions.get(topic, (0, 0))[0] for topic in topics_of)
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
