"""Changes of the tables as they come: from Postgres alone, woken by NOTIFY, with a cursor to go on from."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Self

from lyo.storage.faults import Fault, SinkError, judge, lasting, one_line
from lyo.storage.session import Session
from lyo.storage.sink.sources import chosen
from lyo.storage.sink.writer import CHANNEL
from lyo.storage.subscription.changes import Change, Reader
from lyo.storage.subscription.cursor import CursorError, decode
from lyo.streams.log import logger

PAGE: Final = 500
POLL_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 20.0
_PAUSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

log = logger("subscription")


class SubscriptionError(RuntimeError):
    """The subscription cannot go on; the message says why and what to do, in one line."""


class Subscription:
    """An async iterator of changes; use it with `async with`, or call `aclose`, to give its connection back.

    A page of changes is read when the one before has been taken, never earlier. Postgres away means waiting.
    A cancelled wait loses nothing: the next one goes on.

    Args:
        dsn: Postgres, as a URL.
        after: the cursor of the last change that was dealt with; None: begin with every row there is.
        kinds: which kinds of change, such as `dropout-risk`; None: all.
        organization_id: whose changes only; None: of every organization.
        once: end when everything that is stored has been given, instead of waiting for more.
        page: the most changes held in memory.
        poll_seconds: look for changes at least this often, should a notification not come through.
        connect_seconds: how long to try to reach Postgres the first time.

    Raises:
        CursorError: `after` is no cursor, or one of another organization.
        ValueError: there is no such kind, or a number out of range.
    """

    def __init__(
        self,
        dsn: str,
        after: str | None = None,
        *,
        kinds: Iterable[str] | None = None,
        organization_id: int | None = None,
        once: bool = False,
        page: int = PAGE,
        poll_seconds: float = POLL_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        if page < 1 or poll_seconds <= 0 or not 0 <= (organization_id or 0) < 2**63:
            raise ValueError("page, poll_seconds and organization_id must be positive")
        start = None if after is None else decode(after)
        organization = organization_id or 0
        if start is not None and start.organization != organization:
            raise CursorError(
                f"the cursor is of {_named(start.organization)}, the subscription of {_named(organization)}"
            )
        followed = chosen(kinds)
        self._topics = tuple(source.topic for source in followed)
        self._reader = Reader(followed, start, organization=organization, most=page)
        self._given = after
        self._once = once
        self._poll_seconds = poll_seconds
        self._connect_seconds = connect_seconds
        self._session = Session(dsn, "lyo subscribe")
        self._listening: Any = None
        self._woken = asyncio.Event()
        self._waiting: deque[Change] = deque()
        self._caught_up = False
        self._look_at = 0.0
        self._closed = False
        self._failures = 0

    @property
    def cursor(self) -> str | None:
        """Where to go on once the last change given has been dealt with; moves on without changes, too."""
        return self._given if self._waiting or self._reader.cursor is None else self._reader.cursor

    @property
    def pending(self) -> int:
        """How many changes are in memory, to be given without waiting."""
        return len(self._waiting)

    @property
    def caught_up(self) -> bool:
        """Whether everything that was stored at the last look has been given."""
        return self._caught_up and not self._waiting

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        """The next change, once there is one.

        Raises:
            SubscriptionError: it cannot go on.
        """
        while not self._waiting:
            if self._closed or (self._once and self._caught_up):
                await self.aclose()
                raise StopAsyncIteration
            await self._more()
        change = self._waiting.popleft()
        self._given = change.cursor
        return change

    async def aclose(self) -> None:
        """Give the connection back; no more changes are given."""
        self._closed = True
        self._waiting.clear()
        self._listening = None
        await self._session.close()

    def __del__(self) -> None:
        # Left without `aclose`: the connection must not outlive us.
        with contextlib.suppress(AttributeError, RuntimeError):
            self._session.drop()

    async def _more(self) -> None:
        """Read a page; wait first, if nothing was left at the last look."""
        if self._caught_up:
            # A moment, not a duration: who waits again and again for less than a poll must come to one.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._look_at):
                    await self._woken.wait()
        self._woken.clear()
        try:
            page = await self._reader.page(await self._connection())
        except asyncio.CancelledError:
            self._session.drop()
            # What woke us has been taken back, and nobody listens now: the next one looks by itself.
            self._caught_up = False
            raise
        except Exception as error:  # noqa: BLE001 - judged
            await self._failed(error)
        else:
            self._failures = 0
            self._caught_up = page.complete
            self._look_at = asyncio.get_running_loop().time() + self._poll_seconds
            self._waiting.extend(page.changes)

    async def _connection(self) -> Any:
        """The connection, listening; opened again after it broke."""
        if self._listening is None:
            await self._session.first(self._connect_seconds)
        connection = await self._session.connection()
        if connection is not self._listening:
            wake, topics = self._woken.set, self._topics

            def notified(_connection: Any, _process: int, _channel: str, payload: str) -> None:
                # "topic partition offset", as the sink says it.
                if payload.split(" ", 1)[0].endswith(topics):
                    wake()

            connection.add_termination_listener(lambda *_: wake())
            await connection.add_listener(CHANNEL, notified)
            self._listening = connection
        return connection

    async def _failed(self, error: Exception) -> None:
        """Let go of the connection and wait a moment, if the error may pass.

        Raises:
            SubscriptionError: it will not pass.
        """
        self._session.drop()
        self._caught_up = False
        if isinstance(error, SinkError):
            raise SubscriptionError(str(error)) from None
        if judge(error) is not Fault.PASSING:
            raise SubscriptionError(str(lasting(error))) from error
        if self._failures == 0:
            log.warning("Postgres is away, trying again: %s", one_line(error))
        await asyncio.sleep(_PAUSES[min(self._failures, len(_PAUSES) - 1)])
        self._failures += 1


def _named(organization: int) -> str:
    return f"organization {organization}" if organization else "every organization"
