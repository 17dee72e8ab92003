"""Batches requests that wait at the same time: one SQL query and one pass over columns answer them all.

NumPy costs nearly as much for one learner as for ten. A request that comes alone is answered at once; those
that come while a batch is computed, and in a short pause after it, form the next batch.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeAlias

from sqlalchemy.exc import SQLAlchemyError

from lyo.predictive.answers import reading
from lyo.storage.database import autocommitting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from lyo.predictive.answers.reading import LearnerQuery, LearnerSnapshot
    from lyo.streams.topics import Names

__all__ = ["MOST", "PAUSE", "RequestBatcher"]

MOST: Final = 16
"""Requests in a batch: everybody else waits while one is computed."""
PAUSE: Final = 0.5
"""The pause before a batch that is not full, as a share of the time that the batch before it took."""

_Waiting: TypeAlias = "tuple[LearnerQuery, asyncio.Future[LearnerSnapshot]]"


class RequestBatcher:
    """Reads learners, with sessions of its own.

    Args:
        sessions: makes a session.
        names: the topics of the catalogue.
    """

    def __init__(self, sessions: Callable[[], AsyncSession], names: Names) -> None:
        self._sessions, self._names = sessions, names
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def read(self, query: LearnerQuery) -> LearnerSnapshot:
        """The learner asked about.

        Raises:
            LayoutError: a row that this version cannot read; the other requests are answered.
            sqlalchemy.exc.SQLAlchemyError, OSError: Postgres refuses, or cannot be reached.
        """
        future: asyncio.Future[LearnerSnapshot] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            if open_queries := [(query, future) for query, future in batch if not future.done()]:
                began = time.perf_counter()
                await self._answer(open_queries)
                if len(self._waiting) < MOST:
                    await asyncio.sleep(PAUSE * (time.perf_counter() - began))

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            async with autocommitting(self._sessions) as db:
                learners = await reading.many(db, [query for query, _ in batch], self._names)
        except (SQLAlchemyError, OSError) as error:
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers get it
            if len(batch) == 1:
                _fail(batch, error)
            else:  # one of them is to blame
                for waiting in batch:
                    await self._answer([waiting])
        else:
            for (_, future), learner in zip(batch, learners, strict=True):
                if not future.done():
                    future.set_result(learner)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
