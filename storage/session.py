"""One connection to Postgres, opened again after it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg

from lyo.storage.database import plain_url, shown_url
from lyo.storage.faults import Fault, SinkError, judge, one_line, sqlstate, waiting_for
from lyo.streams.log import logger

ATTEMPT_SECONDS: Final = 10.0
STATEMENT_SECONDS: Final = 120.0
RETRY_SECONDS: Final = 0.2
FULL: Final = 0.5
STOP_SECONDS: Final = 10.0
# jit: the planner sometimes overestimates a batch's cost, and then compiling takes longer than running.
# enable_*: the planner cannot see into the JSON and expects ten thousand rows in a batch, so it would read
# whole tables to join a few records: with 100,000 learners stored, most of a core. It also keeps a plan that
# was right while a table was small. These settings make it always use the indexes.
# Timeouts: the locks of a vanished process are released within a minute instead of hours, and those of a
# process frozen in a transaction within seconds, since its successor waits for them.
_SETTINGS: Final = {
    "application_name": "lyo sink",
    "timezone": "UTC",
    "jit": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    # For a process that is stopped in a transaction: its host still answers keepalives.
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
# A full queue of notifications is shortened only by who writes to it, and nobody can, or by this function.
QUEUE_SQL: Final = "SELECT pg_notification_queue_usage()"
_LIMIT_EXCEEDED: Final = "54"

log = logger("postgres")


class Session:
    """Holds the connection; `connection` opens it if there is none.

    Attributes:
        working: whether the process waits for Postgres now.
        drops: how often the connection was dropped.
        why: why nothing can be stored, in one line; empty once something was.
        state: the SQLSTATE, or the error's type, that says so.
    """

    def __init__(self, database_url: str, name: str = "lyo sink", **settings: str) -> None:
        self._url = database_url
        self._settings = _SETTINGS | {"application_name": name} | settings
        self._connection: Any = None
        self.working = False
        self.drops = 0
        self.why = self.state = ""

    async def connection(self) -> Any:
        """The open connection.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError: Postgres cannot be reached, or refuses.
        """
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                plain_url(self._url),
                timeout=ATTEMPT_SECONDS,
                command_timeout=STATEMENT_SECONDS,
                server_settings=self._settings,
            )
            if self.state.startswith(_LIMIT_EXCEEDED):
                await self._shorten_queue()
        return self._connection

    async def _shorten_queue(self) -> None:
        """Let Postgres forget the notifications that every listener has read."""
        usage = await self._connection.fetchval(QUEUE_SQL)
        if usage >= FULL:
            log.warning(
                "the queue of notifications is %d%% full: a session that listens is idle in a transaction",
                round(usage * 100),
            )

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[Any]:
        """The open connection; while it is used, `working` is true.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError: Postgres cannot be reached, or refuses.
        """
        self.working = True
        try:
            yield await self.connection()
            self.why = self.state = ""
        finally:
            self.working = False

    async def first(self, within: float, stop: asyncio.Event | None = None) -> None:
        """Connect for the first time, trying for `within` seconds or until `stop` is set.

        Raises:
            SinkError: with the address and the last error.
        """
        until = time.monotonic() + within
        stop = stop or asyncio.Event()
        while True:
            try:
                await self.connection()
            except Exception as error:  # noqa: BLE001 - judged
                if judge(error) is not Fault.PASSING or time.monotonic() >= until:
                    raise SinkError(
                        f"cannot use Postgres at {shown_url(self._url)}: {one_line(error)}"
                    ) from None
            else:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
            if stop.is_set():
                return

    def drop(self, error: BaseException | None = None) -> None:
        """Drop the connection: its transaction is rolled back, and the next use opens another one.

        ``error`` is why nothing could be stored.
        """
        self.drops += 1
        if error is not None:
            self.why, self.state = waiting_for(error), sqlstate(error)
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def drop_soon(self) -> None:
        """Drop the connection after some seconds, so that a slow Postgres does not delay a stop."""
        asyncio.get_running_loop().call_later(STOP_SECONDS, self.drop)

    async def close(self) -> None:
        """Close the connection, if it is open."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                await connection.close(timeout=2.0)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()
