"""A database in memory: transactions that read what is committed, row and advisory locks, broken connections.

What each statement of the sink does is in `statements.py`, by the statement's own text.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import asyncpg

from tests.support.simulation.loop import Process, current
from tests.support.simulation.network import Network, Server

Row = dict[str, Any]
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
BROKEN = (
    ConnectionResetError,
    TimeoutError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
Handler = Callable[..., Coroutine[Any, Any, Any]]


class Session:
    """The server's side of one connection: at most one transaction, its writes and its locks."""

    def __init__(self, database: Database, idle_seconds: float | None) -> None:
        self.database = database
        self.idle_seconds = idle_seconds
        self.open = False
        self.gone = False
        self.idled = False
        self.writes: dict[tuple[str, Any], Row | None] = {}
        self.stored: set[tuple[str, int, int]] = set()
        self.held: set[tuple[str, Any]] = set()
        self.waits_for: Session | None = None
        self.said: list[str] = []
        self.running: asyncio.Task[Any] | None = None
        self._turn = 0

    def alive(self) -> None:
        """Refuse a connection that the server has closed."""
        if self.idled:
            raise asyncpg.IdleInTransactionSessionTimeoutError("terminating connection")
        if self.gone:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    def begin(self) -> None:
        """Open a transaction."""
        self.alive()
        self.open = True
        self.touched()

    def touched(self) -> None:
        """Begin to count how long the client is idle in its transaction."""
        self._turn += 1
        if self.idle_seconds is not None and self.open:
            self.database.network.later(self.idle_seconds, self._idle, self._turn)

    def _idle(self, turn: int) -> None:
        if self.open and turn == self._turn and self.running is None:
            self.end(commit=False)
            self.gone = self.idled = True

    def end(self, *, commit: bool) -> None:
        """Commit or roll back, and give back the locks."""
        if self.open and commit:
            self.database.apply(self)
        self.open = False
        self.writes, self.stored, self.said = {}, set(), []
        held, self.held = self.held, set()
        self.database.release(held)

    def close(self) -> None:
        """The client is gone: what it was doing is undone."""
        self.gone = True
        if self.running is not None:
            self.running.cancel()
        self.end(commit=False)

    def run(self, handler: Handler, args: tuple[Any, ...]) -> asyncio.Task[Any]:
        """Execute a statement, which may wait for locks."""
        self.alive()
        context = contextvars.Context()
        work = handler(self, *args) if self.open else self._alone(handler, args)
        self.running = self.database.network.loop.create_task(work, context=context)
        self.running.add_done_callback(self._ran, context=context)
        return self.running

    async def _alone(self, handler: Handler, args: tuple[Any, ...]) -> Any:
        """A statement outside of a transaction is one by itself."""
        self.open = True
        try:
            result = await handler(self, *args)
        except BaseException:
            self.end(commit=False)
            raise
        self.end(commit=True)
        return result

    def _ran(self, _: Any) -> None:
        self.running = None
        self.touched()

    def get(self, table: str, key: Any) -> Row | None:
        """A row as this transaction sees it now."""
        if (table, key) in self.writes:
            return self.writes[table, key]
        return self.database.tables.setdefault(table, {}).get(key)

    def rows(self, table: str) -> dict[Any, Row]:
        """All rows of a table as this transaction sees them now."""
        found: dict[Any, Row] = dict(self.database.tables.get(table, {}))
        for (name, key), row in self.writes.items():
            if name == table:
                if row is None:
                    found.pop(key, None)
                else:
                    found[key] = row
        return found

    async def lock(self, table: str, key: Any) -> None:
        """Wait until nobody else holds a row, and hold it."""
        what = (table, key)
        while (holder := self.database.locks.get(what)) is not None and holder is not self:
            self.waits_for = holder
            if self._circle():
                self.waits_for = None
                raise asyncpg.DeadlockDetectedError("deadlock detected")
            await self.database.released(what)
        self.waits_for = None
        self.database.locks[what] = self
        self.held.add(what)

    def _circle(self) -> bool:
        at = self.waits_for
        while at is not None:
            if at is self:
                return True
            at = at.waits_for
        return False

    async def put(self, table: str, key: Any, row: Row | None) -> None:
        """Write a row, or delete it."""
        if self.database.refuses == "writes":
            raise asyncpg.ProgramLimitExceededError("die Datenbank nimmt keine Befehle an")
        await self.lock(table, key)
        self.writes[table, key] = row


class Database(Server):
    """One Postgres."""

    def __init__(
        self, network: Network, statements: Mapping[str, Handler], about_to: Callable[[str], None]
    ) -> None:
        super().__init__("database")
        self.about_to = about_to
        self.network = network
        self.statements = statements
        self.tables: dict[str, dict[Any, Row]] = {}
        self.locks: dict[tuple[str, Any], Session] = {}
        self.sessions: list[Session] = []
        self.stored: Counter[tuple[str, int, int]] = Counter()
        self.backward: list[str] = []
        self.refuses = ""
        self._waiting: dict[tuple[str, Any], list[asyncio.Future[None]]] = {}

    def crash(self) -> None:
        """Go away: every connection breaks, what is open is undone."""
        self.down = True
        for session in self.sessions:
            session.close()
        self.sessions = []

    def refuse(self, what: str = "") -> None:
        """From now on refuse all "writes", or every commit with "notifications"; or nothing any more."""
        self.refuses = what

    def apply(self, session: Session) -> None:
        """Make a transaction's writes what others see."""
        for (table, key), row in session.writes.items():
            rows = self.tables.setdefault(table, {})
            if table == "sink_offsets" and row is not None and key in rows:
                before, after = rows[key]["next_offset"], row["next_offset"]
                if after < before:
                    self.backward.append(f"{key[0]}-{key[1]}: {before} -> {after}")
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
        self.stored.update(session.stored)

    def release(self, held: set[tuple[str, Any]]) -> None:
        """Give back locks, and wake who waits for them."""
        for what in sorted(held, key=repr):
            self.locks.pop(what, None)
            for waiter in self._waiting.pop(what, []):
                if not waiter.done():
                    waiter.set_result(None)

    def released(self, what: tuple[str, Any]) -> asyncio.Future[None]:
        """A future that is done when a lock is given back."""
        future: asyncio.Future[None] = self.network.loop.create_future()
        self._waiting.setdefault(what, []).append(future)
        return future

    async def connect(self, _url: str, *, server_settings: Mapping[str, str], **more: Any) -> Connection:
        """Stand in for `asyncpg.connect`."""
        idle = server_settings.get("idle_in_transaction_session_timeout")
        connection = Connection(self, None if idle is None else seconds(idle), more["command_timeout"])
        await connection.open()
        return connection


class Connection:
    """What the sink uses of an asyncpg connection."""

    def __init__(self, database: Database, idle: float | None, seconds: float) -> None:
        process: Process = current()
        self._database = database
        self._session = Session(database, idle)
        self._seconds = seconds
        self._closed = False
        self._link = database.network.link(
            process, database, lambda: ConnectionResetError("connection reset")
        )
        self._process = process

    async def open(self) -> None:
        """Connect."""
        await self._link.call(lambda: self._database.sessions.append(self._session), faulty=False)
        watch_death(self._process, self._break)

    def is_closed(self) -> bool:
        """Whether it can be used no more."""
        return self._closed

    def terminate(self) -> None:
        """Close it at once."""
        if not self._closed:
            self._break()

    async def close(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Close it in order."""
        self.terminate()

    def _break(self) -> None:
        self._closed = True
        self._database.network.later(self._link.random.uniform(0, 0.5), self._session.close)

    async def _call(self, effect: Callable[[], Any]) -> Any:
        if self._closed:
            raise asyncpg.InterfaceError("connection is closed")
        try:
            async with asyncio.timeout(self._seconds):
                return await self._link.call(effect)
        except BROKEN:
            if not self._closed:
                self._break()
            raise

    async def execute(self, query: str, *args: Any) -> str:
        """Run a statement."""
        await self.fetch(query, *args)
        return ""

    async def fetch(self, query: str, *args: Any) -> list[Row]:
        """Run a statement and give its rows."""
        handler = self._database.statements[query]
        self._database.about_to(handler.__name__)
        rows: list[Row] | None = await self._call(lambda: self._session.run(handler, args))
        return rows or []

    async def fetchval(self, query: str, *args: Any) -> Any:
        """Run a statement and give the first value."""
        (row,) = await self.fetch(query, *args)
        return next(iter(row.values()))

    def transaction(self) -> Any:
        """A transaction as a context."""
        return _Transaction(self)


class _Transaction:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __aenter__(self) -> None:
        session = self._connection._session
        await self._connection._call(session.begin)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        session = self._connection._session
        commit = kind is None

        def end() -> None:
            session.alive()
            full = commit and session.said and session.database.refuses == "notifications"
            session.end(commit=commit and not full)
            if full:
                raise asyncpg.ProgramLimitExceededError("zu viele Benachrichtigungen in NOTIFY-Schlange")

        if commit or not self._connection.is_closed():
            await self._connection._call(end)


def seconds(text: str) -> float | None:
    """A setting of Postgres that is a time, milliseconds where it has no unit; None: it is off."""
    match = re.fullmatch(r"\s*(\d+)\s*(us|ms|s|min|h|d)?\s*", text)
    if match is None:
        raise asyncpg.InvalidParameterValueError(f"invalid value: {text!r}")
    return int(match[1]) * UNITS[match[2] or "ms"] or None


def watch_death(process: Process, what: Callable[[], None]) -> None:
    """Do something when a process is killed."""
    process.at_death.append(what)
