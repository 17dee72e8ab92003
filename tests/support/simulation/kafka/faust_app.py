"""What Faust does for a worker, in memory: the group's reader, its polls, and the two signals of a rebalance.

Like Faust it holds the flow while a rebalance goes on, reads on from the committed offsets afterwards, and
now and then loses a poll on its way (`docs/decisions/020-polls-as-messages.md`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError

from lyo.streams.kafka import clients
from lyo.streams.runtime.transport import Poll
from tests.support.simulation.kafka.cluster import Cluster
from tests.support.simulation.kafka.consumer import Consumer

POLL_SECONDS = 1.0


class Signal:
    """A signal of Faust's, with one receiver."""

    def __init__(self) -> None:
        self.receiver: Any = None

    def connect(self, receiver: Any) -> None:
        """Name the receiver."""
        self.receiver = receiver


class App:
    """Stands in for `lyo.streams.runtime.transport.BatchApp` and its consumer."""

    def __init__(self, cluster: Cluster, settings: Any, topics: list[str]) -> None:
        self.on_partitions_revoked = Signal()
        self.on_partitions_assigned = Signal()
        self.deliver: Callable[[Poll], None] | None = None
        self.consumer = self
        self.rebalancing = False
        self.crash_reason: BaseException | None = None
        self._crashed = asyncio.Event()
        self._faults = cluster.network.faults
        self._reader: Consumer = clients.consumer(
            settings, group_id=settings.app_id, heartbeat_interval_ms=settings.session_timeout_ms // 4
        )
        self._reader.subscribe(topics, listener=_Listener(self))
        self._pump: asyncio.Task[None] | None = None

    @staticmethod
    def register(app: Any, deliver: Callable[[Poll], None]) -> None:
        """Stand in for the agents: all polls go to the worker."""
        app.take(deliver)

    def take(self, deliver: Callable[[Poll], None]) -> None:
        """Say whom polls are delivered to."""
        self.deliver = deliver

    async def start(self) -> None:
        """Join the group and begin to deliver."""
        await self._reader.start()
        self._pump = asyncio.get_running_loop().create_task(self._deliver_polls())
        self._pump.add_done_callback(self._pump_ended)

    async def stop(self) -> None:
        """Leave the group."""
        if self._pump is not None:
            self._pump.cancel()
        await self._reader.stop()

    async def wait_until_ended(self) -> None:
        """Return when the app has failed."""
        await self._crashed.wait()

    def _pump_ended(self, pump: asyncio.Task[None]) -> None:
        if not pump.cancelled() and pump.exception() is not None:
            self._fail(pump.exception())

    def _fail(self, error: BaseException | None) -> None:
        self.crash_reason = error
        self._crashed.set()

    async def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Hold the flow and say it."""
        self.rebalancing = True
        await self._signal(self.on_partitions_revoked, revoked=set(partitions))

    async def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Say it and let the flow go on."""
        await self._signal(self.on_partitions_assigned, assigned=set(partitions))
        self.rebalancing = False

    async def _signal(self, signal: Signal, **what: Any) -> None:
        try:
            await signal.receiver(self, **what)
        except Exception as error:  # noqa: BLE001 - as Faust does: the app crashes
            self._fail(error)

    async def _deliver_polls(self) -> None:
        dice = self._reader.link.random
        while True:
            try:
                polls = await self._reader.poll(POLL_SECONDS)
            except ConsumerStoppedError:
                return
            for tp, (start, records, after) in polls.items():
                if dice.random() < self._faults.lost_polls:
                    continue
                if self.rebalancing:
                    if tp in self._reader.assignment():
                        self._reader.seek(tp, start)
                    continue
                if self.deliver is not None and tp in self._reader.assignment():
                    self.deliver(Poll(tp, start, after, records))

    # ------------------------------------------------------------ the consumer, for the tasks

    async def positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where the reader stands, where that is known."""
        await asyncio.sleep(0)
        known = self._reader.known()
        return {tp: known[tp] for tp in partitions if tp in known}

    async def seek_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read on from offsets of what is assigned."""
        await asyncio.sleep(0)
        for tp, offset in offsets.items():
            if tp in self._reader.assignment():
                self._reader.seek(tp, offset)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver nothing more of these for now."""
        self._reader.paused.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver these again."""
        self._reader.paused.difference_update(partitions)


class _Listener:
    def __init__(self, app: App) -> None:
        self._app = app

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._app.revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._app.assigned(assigned)
