"""The relay: sends the rows of the outbox to the topics, in order, at least once.

Only the relay with the advisory lock sends. The lock belongs to its session, so it is released when the relay
dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

from lyo.models.predictions.kinds import STRUGGLE
from lyo.storage.faults import Fault, judge, lasting, waiting_for
from lyo.storage.outbox.queue import CHANNEL
from lyo.storage.outbox.retention import forget, forget_struggles
from lyo.storage.outbox.sender import Away, OutboxSender, Sent
from lyo.storage.session import QUEUE_SQL, Session
from lyo.streams import topics
from lyo.streams.failpoints import Failpoints
from lyo.streams.log import logger
from lyo.streams.metrics import Sample
from lyo.streams.producers.linger import Linger
from lyo.streams.settings import Settings

BATCH_ROWS: Final = 500
POLL_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 15.0
LOCK_SECONDS: Final = 1.0
HOUSEKEEPING_SECONDS: Final = 3_600.0
_PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TRY_SQL: Final = "UPDATE outbox SET error = error WHERE id = $1"

# An arbitrary constant that no other program uses.
_LOCK_SQL: Final = "SELECT pg_try_advisory_lock(1819897710, 0)"
_UNSENT_SQL: Final = """
SELECT id, topic, key, partition_key, value FROM outbox
WHERE sent_at IS NULL AND error IS NULL AND topic <> ALL($2::text[]) ORDER BY id LIMIT $1
"""
_MARK_SQL: Final = """
UPDATE outbox o SET sent_at = CASE WHEN n.error IS NULL THEN now() END, error = n.error
FROM unnest($1::int8[], $2::text[]) AS n(id, error) WHERE o.id = n.id
"""

log = logger("relay")


class Relay:
    """Sends the rows of the outbox until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        *,
        batch_rows: int = BATCH_ROWS,
        poll_seconds: float = POLL_SECONDS,
        failpoints: Failpoints | None = None,
    ) -> None:
        self.sent = 0
        self.refused = 0
        self._settings = settings
        self._batch_rows = batch_rows
        self._poll_seconds = poll_seconds
        self._failpoints = failpoints or Failpoints()
        self._session = Session(
            # The idle timeout releases the lock of a frozen relay.
            settings.database_url,
            "lyo outbox relay",
            idle_session_timeout=f"{round(max(6 * poll_seconds, IDLE_SECONDS))}s",
        )
        self._answers = topics.names(settings).prediction(STRUGGLE.name)
        self._leading: Any = None
        self._stop = asyncio.Event()
        self._sender = OutboxSender(settings, self._stop)
        self._woken = asyncio.Event()
        self._housekeeping_at = 0.0
        self._failures = 0
        self._untried = False
        self._queue_usage = 0.0
        self._linger = Linger()

    @property
    def leading(self) -> bool:
        """Whether this relay is the one that sends."""
        return self._leading is not None

    def samples(self) -> Iterator[Sample]:
        """Samples for Prometheus; called from any thread."""
        yield Sample("lyo_relay_leading", float(self.leading))
        yield Sample("lyo_relay_sent", self.sent)
        yield Sample("lyo_relay_refused", self.refused)
        yield Sample("lyo_relay_failures", self._failures)
        if self.leading:
            yield Sample("lyo_notification_queue_usage", self._queue_usage)

    def stop(self) -> None:
        """End after the rows that are being sent, or within seconds without them."""
        self._stop.set()
        self._session.drop_soon()
        self._woken.set()

    async def run(self) -> None:
        """Send the outbox until `stop` is called; waits while Kafka or Postgres is away.

        Raises:
            lyo.storage.faults.SinkError: Postgres refuses for good; one line that says why.
        """
        try:
            while not self._stop.is_set():
                try:
                    await self._turn()
                    self._failures = 0
                except Away as error:
                    await self._failed(f"Kafka is away, trying again: {error}")
                except Exception as error:
                    if judge(error) is Fault.LASTING:
                        raise lasting(error) from error
                    self._untried = True
                    await self._failed(f"trying again: {waiting_for(error)}")
        finally:
            await self._sender.close()
            await self._session.close()

    async def _turn(self) -> None:
        """Send a batch, or wait until there are rows."""
        connection = await self._lead()
        if connection is None:
            await self._pause(LOCK_SECONDS)
            return
        self._woken.clear()
        if time.monotonic() >= self._housekeeping_at:
            await forget(
                connection,
                outbox_days=self._settings.outbox_days,
                removed_days=self._settings.removed_days,
            )
            await forget_struggles(connection, days=self._settings.struggle_days, topic=self._answers)
            self._housekeeping_at = time.monotonic() + HOUSEKEEPING_SECONDS
        began = time.monotonic()
        if done := await self._batch(connection):
            if done < self._batch_rows:
                self._linger.took(time.monotonic() - began)
                await self._pause(self._linger.remaining)
        elif not self._stop.is_set():
            # Also shortens the queue: while it is full, the API cannot write to the outbox.
            self._queue_usage = await connection.fetchval(QUEUE_SQL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._woken.wait()

    async def _lead(self) -> Any:
        """The connection that holds the lock and listens; None while another relay holds it."""
        connection = await self._session.connection()
        if connection is self._leading:
            return connection
        self._leading = None
        if not await connection.fetchval(_LOCK_SQL):
            return None
        wake = self._woken.set
        connection.add_termination_listener(lambda *_: wake())
        await connection.add_listener(CHANNEL, lambda *_: wake())
        self._leading = connection
        log.debug("relaying the outbox")
        return connection

    async def _batch(self, connection: Any) -> int:
        """Send some rows and mark their results; gives how many rows."""
        rows = await connection.fetch(_UNSENT_SQL, self._batch_rows, self._sender.held)
        if not rows:
            return 0
        if self._untried:
            # A server that takes no marks would have the same rows sent again and again.
            await connection.execute(_TRY_SQL, rows[0]["id"])
            self._untried = False
        self._failpoints("outbox_read")
        sent = Sent()
        try:
            await self._sender.send(rows, sent)
        finally:
            if sent.ids or sent.refused:
                self._failpoints("outbox_sent")
                await self._mark(connection, sent)
                self._failpoints("outbox_marked")
        return len(sent.ids) + len(sent.refused)

    async def _mark(self, connection: Any, sent: Sent) -> None:
        refused = sent.refused
        await connection.execute(
            _MARK_SQL, [*sent.ids, *refused], [*(None for _ in sent.ids), *refused.values()]
        )
        self.sent += len(sent.ids)
        self.refused += len(refused)
        for number, reason in refused.items():
            log.error("outbox row %d is not sent: %s", number, reason)

    async def _failed(self, line: str) -> None:
        """Give up the lock, so that another relay may try, and wait a moment."""
        if self._failures == 0:
            log.warning("%s", line)
        self._session.drop()
        self._leading = None
        await self._pause(_PAUSES[min(self._failures, len(_PAUSES) - 1)])
        self._failures += 1

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
