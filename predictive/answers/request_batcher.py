"""Answers questions that wait at the same time together: in one query, and in one pass over columns.

NumPy costs nearly as much for one learner as for ten. A question that comes alone is answered at once; what
comes while a batch is read and computed, and in a short rest after it, becomes the next one.
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

    from lyo.predictive.answers.reading import Asked, Seen
    from lyo.streams.topics import Names

__all__ = ["MOST", "REST", "Together"]

MOST: Final = 16
"""Questions in a batch: computing it holds up everybody else."""
REST: Final = 0.5
"""Of the time that a batch took, before the next that is not full: what comes meanwhile goes into it."""

_Waiting: TypeAlias = "tuple[Asked, asyncio.Future[Seen]]"


class Together:
    """Reads with sessions of its own.

    Args:
        sessions: makes a session.
        names: the topics of the catalogue.
    """

    def __init__(self, sessions: Callable[[], AsyncSession], names: Names) -> None:
        self._sessions, self._names = sessions, names
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def read(self, asked: Asked) -> Seen:
        """The learner asked about.

        Raises:
            LayoutError: a row that this version cannot read; the other questions are answered.
            sqlalchemy.exc.SQLAlchemyError, OSError: Postgres refuses, or cannot be reached.
        """
        future: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            if wanted := [(asked, future) for asked, future in batch if not future.done()]:
                began = time.perf_counter()
                await self._answer(wanted)
                if len(self._waiting) < MOST:
                    await asyncio.sleep(REST * (time.perf_counter() - began))

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            async with autocommitting(self._sessions) as db:
                found = await reading.many(db, [asked for asked, _ in batch], self._names)
        except (SQLAlchemyError, OSError) as error:
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who asked are told
            if len(batch) == 1:
                _fail(batch, error)
            else:  # one of them is to blame
                for each in batch:
                    await self._answer([each])
        else:
            for (_, future), seen in zip(batch, found, strict=True):
                if not future.done():
                    future.set_result(seen)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
