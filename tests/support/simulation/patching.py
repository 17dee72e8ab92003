"""What the product is given in place of what connects: the simulation's clients, clock and failpoints."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import asyncpg

from lyo.storage.sink import erasures
from lyo.streams.runtime.worker import Worker
from tests.support.simulation.kafka.cluster import Cluster
from tests.support.simulation.kafka.faust_app import App
from tests.support.simulation.plan import STEPS
from tests.support.simulation.statements import DELETE_SQL, MERGE_SQL
from tests.support.simulation.tally import learner_time, prediction_time, skill_time

if TYPE_CHECKING:
    from tests.support.simulation.world import World


@contextmanager
def patched(world: World) -> Iterator[None]:
    """Hand the fakes to the product: its Kafka clients, its connection, its clock, its steps."""
    clock = SimpleNamespace(
        monotonic=world.loop.time, time_ns=lambda: world.now() * 1_000_000, time=lambda: world.now() / 1_000
    )

    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        for name in (
            "lyo.streams.runtime.task",
            "lyo.streams.runtime.input_reader",
            "lyo.streams.producers.transactional_producer",
            "lyo.streams.producers.linger",
            "lyo.streams.kafka.clients",
            "lyo.streams.clock",
            "lyo.streams.topic_admin",
            "lyo.storage.session",
            "lyo.storage.sink.sink",
            "lyo.storage.sink.refused",
            "lyo.storage.sink.offset_mirror",
        ):
            stack.enter_context(mock.patch(f"{name}.time", clock))
        for target, fake in {
            # The same text each time, and most of the time that a sink's start takes.
            "lyo.storage.sink.writer.merge_sql": MERGE_SQL.__getitem__,
            "lyo.storage.sink.writer.delete_sql": DELETE_SQL.__getitem__,
            "lyo.streams.runtime.context.Failpoints": lambda _crash_at: SimFailpoints(world),
            "lyo.streams.runtime.worker.AIOKafkaAdminClient": world.cluster.admin,
            "lyo.streams.kafka.clients.AIOKafkaAdminClient": world.cluster.admin,
            "lyo.streams.kafka.clients.AIOKafkaConsumer": world.cluster.consumer,
            "lyo.streams.kafka.clients.AIOKafkaProducer": world.cluster.producer,
            # It would ask a real socket why the broker refuses us.
            "lyo.streams.kafka.clients.refusal": _away,
        }.items():
            stack.enter_context(mock.patch(target, fake))
        stack.enter_context(mock.patch.object(asyncpg, "connect", world.database.connect))
        if not world.plan.real_engine:
            for time_of in (learner_time, skill_time, prediction_time):
                stack.enter_context(mock.patch.object(erasures, time_of.__name__, time_of))
        try:
            yield
        finally:
            logging.disable(disabled)


class SimWorker(Worker):
    """The product's worker; only Faust itself is replaced."""

    cluster: Cluster

    def _create_app(self) -> Any:
        app = App(self.cluster, self.settings, list(self.names.inputs))
        self._register(app, self.deliver)  # type: ignore[arg-type]
        app.on_partitions_revoked.connect(self._on_revoked)
        app.on_partitions_assigned.connect(self._on_assigned)
        return app


class SimFailpoints:
    """Stands in for `lyo.streams.failpoints.Failpoints`: tells the world where a task is."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.armed = world.dice.random() < 0.5

    def __call__(self, name: str) -> None:
        assert name in STEPS
        self._world.reached(name)


async def _away(_settings: object) -> tuple[str, bool]:
    """A broker that is away, and may come back."""
    return "", False
