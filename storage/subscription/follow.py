"""The subscription: changes of the tables as they happen, from Postgres alone, with a cursor to continue."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Self

from lyo.storage.faults import Fault, SinkError, judge, lasting, waiting_for
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
    """Why the subscription cannot continue, and what to do, in one line."""


class Subscription:
    """An async iterator of changes. Use `async with`, or call `aclose`, to close its connection.

    A page of changes is read when the previous one is consumed. While Postgres is away it waits. A cancelled
    wait loses nothing: the next one continues.

    Args:
        dsn: Postgres, as a URL.
        after: the cursor of the last processed change; None: begin with every existing row.
        kinds: the kinds of change, such as `dropout-risk`; None: all.
        organization_id: of the changes; None: every organization.
        once: end when everything that is stored is delivered, instead of waiting for more.
        page: the most changes held in memory.
        poll_seconds: look for changes at least this often, in case a notification is lost.
        connect_seconds: how long to try to reach Postgres the first time.

    Raises:
        CursorError: `after` is no cursor, or the cursor of another organization.
        ValueError: there is no such kind, or a number is out of range.
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
            theirs, ours = _organization_name(start.organization), _organization_name(organization)
            raise CursorError(f"the cursor is of {theirs}, the subscription of {ours}")
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
        """Where to continue after the last delivered change; it may move without changes."""
        return self._given if self._waiting or self._reader.cursor is None else self._reader.cursor

    @property
    def pending(self) -> int:
        """How many changes are in memory, ready to be delivered."""
        return len(self._waiting)

    @property
    def caught_up(self) -> bool:
        """Whether everything that was stored at the last look is delivered."""
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
            SubscriptionError: it cannot continue.
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
        """Close the connection; no more changes are delivered."""
        self._closed = True
        self._waiting.clear()
        self._listening = None
        await self._session.close()

    def __del__(self) -> None:
        # If `aclose` was not called, the connection must not outlive the subscription.
        with contextlib.suppress(AttributeError, RuntimeError):
            self._session.drop()

    async def _more(self) -> None:
        """Read a page; if the last page was complete, wait first."""
        if self._caught_up:
            # A deadline, not a duration: a caller that keeps cancelling its wait must still reach a poll.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._look_at):
                    await self._woken.wait()
        self._woken.clear()
        try:
            page = await self._reader.page(await self._connection())
        except asyncio.CancelledError:
            self._session.drop()
            # The wake-up is consumed and nobody listens now, so the next call must look by itself.
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
        """The listening connection; opened again after it breaks."""
        if self._listening is None:
            await self._session.first(self._connect_seconds)
        connection = await self._session.connection()
        if connection is not self._listening:
            wake, topics = self._woken.set, self._topics

            def notified(_connection: Any, _process: int, _channel: str, payload: str) -> None:
                # The sink's payload is "topic partition offset".
                if payload.split(" ", 1)[0].endswith(topics):
                    wake()

            connection.add_termination_listener(lambda *_: wake())
            await connection.add_listener(CHANNEL, notified)
            self._listening = connection
        return connection

    async def _failed(self, error: Exception) -> None:
        """Drop the connection and wait a moment, if the error may pass.

        Raises:
            SubscriptionError: it will not pass.
        """
        self._session.drop()
        self._caught_up = False
        if isinstance(error, SinkError):
            raise SubscriptionError(str(error)) from None
        if judge(error) is Fault.LASTING:
            raise SubscriptionError(str(lasting(error))) from error
        if self._failures == 0:
            log.warning("trying again: %s", waiting_for(error))
        await asyncio.sleep(_PAUSES[min(self._failures, len(_PAUSES) - 1)])
        self._failures += 1


def _organization_name(organization: int) -> str:
    return f"organization {organization}" if organization else "every organization"
