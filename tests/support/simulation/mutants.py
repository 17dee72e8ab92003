"""The product with one of its rules taken out; the simulation must notice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from aiokafka.structs import OffsetAndMetadata

from lyo.models.erasure import Erasing, ErasureMarkers
from lyo.models.state import deduplication
from lyo.storage.sink import claims, writer
from lyo.storage.sink.offsets import Place, Position
from lyo.storage.sink.sink import Sink
from lyo.streams.kafka import clients
from lyo.streams.producers.transactional_producer import TransactionalProducer
from lyo.streams.runtime import opening as openings
from lyo.streams.runtime import restore, task
from lyo.streams.runtime.input_reader import InputReader, SweepLimit
from tests.support.simulation.database import Session
from tests.support.simulation.statements import statements

Mutant = Callable[[], Any]


@contextmanager
def no_fence() -> Iterator[None]:
    """Each owner of a number has a transactional id of its own: nobody is refused."""
    start, serial = TransactionalProducer.start, iter(range(1 << 30))

    async def unfenced(self: TransactionalProducer) -> None:
        settings = self._settings
        self._settings = settings.model_copy(update={"app_id": f"{settings.app_id}-{next(serial)}"})
        try:
            await start(self)
        finally:
            self._settings = settings

    with mock.patch.object(TransactionalProducer, "start", unfenced):
        yield


@contextmanager
def offsets_read_before_the_fence() -> Iterator[None]:
    """The committed offsets are those from before the producer was started."""
    open_, committed_offsets = task.Task._open, restore.committed_offsets
    early: dict[Any, int] = {}

    async def opening(self: task.Task) -> None:
        context = self.context
        early.update(
            await committed_offsets(context.admin, context.offsets, context.settings, self.input.kinds)
        )
        await open_(self)

    async def known(
        _admin: Any, _reader: Any, _settings: Any, partitions: Any, restored: Any = None
    ) -> dict[Any, int]:
        if set(partitions) <= set(early):
            return {tp: early[tp] for tp in partitions}
        return await committed_offsets(_admin, _reader, _settings, partitions, restored)

    with (
        mock.patch.object(task.Task, "_open", opening),
        mock.patch.object(openings, "committed_offsets", known),
    ):
        yield


@contextmanager
def offsets_that_another_moved_are_refused() -> Iterator[None]:
    """A task that was given up while it opened takes its successor's offsets for a fault."""

    async def nothing(_self: TransactionalProducer, _partitions: Any) -> None: ...

    with mock.patch.object(TransactionalProducer, "prove", nothing):
        yield


@contextmanager
def a_loading_coordinator_says_there_is_none() -> Iterator[None]:
    """What Kafka has not said is taken for "nothing committed yet", and is not asked for again."""

    async def careless(admin: Any, group: str, wanted: Any) -> dict[Any, OffsetAndMetadata]:
        found = await admin.list_consumer_group_offsets(group, partitions=wanted)
        return dict.fromkeys(wanted, OffsetAndMetadata(-1, "")) | found

    never = type("Never", (Exception,), {})
    with (
        mock.patch.object(clients, "committed", careless),
        mock.patch.object(openings, "OffsetsBehind", never),
    ):
        yield


@contextmanager
def sink_offsets_without_a_lock() -> Iterator[None]:
    """The sink sets its offsets without looking whose they are and where they stand."""
    blind = "the offsets, whatever they were"

    async def advance(
        connection: Any, positions: Mapping[Place, Position], target: Mapping[Place, int]
    ) -> bool:
        places = sorted(target)
        arguments = [p.topic for p in places], [p.partition for p in places], [target[p] for p in places]
        await connection.execute(blind, *arguments)
        return True

    async def set_offsets(tx: Session, topics: list[str], numbers: list[int], nexts: list[int]) -> None:
        for topic, number, after in zip(topics, numbers, nexts, strict=True):
            row = tx.get("sink_offsets", (topic, number)) or {}
            tx.writes["sink_offsets", (topic, number)] = {**row, "next_offset": after}

    def known() -> dict[str, Any]:
        return statements() | {blind: set_offsets}

    with (
        mock.patch.object(writer, "advance", advance),
        mock.patch("tests.support.simulation.world.statements", known),
    ):
        yield


@contextmanager
def rebalance_without_the_sinks_lock() -> Iterator[None]:
    """The sink gives partitions back without waiting for the transaction that is writing them."""

    class Unlocked:
        def __init__(self) -> None: ...

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None: ...

    real = asyncio

    class Patched:
        Lock = Unlocked

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    with mock.patch.object(claims, "asyncio", Patched()):
        yield


@contextmanager
def partition_numbers_without_a_lock() -> Iterator[None]:
    """Sinks write topics of the same partition number at the same time."""

    async def lock(_connection: Any, _partitions: Any) -> None: ...

    with mock.patch.object(writer, "lock", lock):
        yield


@contextmanager
def gaps_are_taken() -> Iterator[None]:
    """A task takes a poll that begins beyond where it stands."""
    accept = InputReader.accept

    def careless(self: InputReader, polls: Any) -> Any:
        for poll in polls:
            self.expected[poll.tp] = max(self.expected[poll.tp], poll.start)
        return accept(self, polls)

    with mock.patch.object(InputReader, "accept", careless):
        yield


@contextmanager
def repeats_are_taken() -> Iterator[None]:
    """A task takes a poll again that it has done already."""
    accept = InputReader.accept

    def careless(self: InputReader, polls: Any) -> Any:
        expected = dict(self.expected)
        for poll in polls:
            self.expected[poll.tp] = min(self.expected[poll.tp], poll.start)
        try:
            return accept(self, polls)
        finally:
            self.expected = expected

    with mock.patch.object(InputReader, "accept", careless):
        yield


@contextmanager
def strays_are_left() -> Iterator[None]:
    """Nobody looks for a reader that went astray."""

    async def nothing(_self: InputReader, _buffer: Any) -> None: ...

    with mock.patch.object(InputReader, "find_stray", nothing):
        yield


@contextmanager
def offsets_outside_the_transaction() -> Iterator[None]:
    """Offsets are committed by themselves, after the transaction."""
    transact = TransactionalProducer.transact

    async def apart(
        self: TransactionalProducer, outputs: Any, rows: Any, offsets: Any, now: int, elsewhere: Any = None
    ) -> None:
        await transact(self, outputs, rows, {}, now, elsewhere)
        if offsets:
            await transact(self, {}, {}, offsets, now)

    with mock.patch.object(TransactionalProducer, "transact", apart):
        yield


@contextmanager
def state_kept_after_a_failure() -> Iterator[None]:
    """A task goes on after a failed transaction with what it has in memory."""
    transact = TransactionalProducer.transact

    async def careless(
        self: TransactionalProducer, outputs: Any, rows: Any, offsets: Any, now: int, elsewhere: Any = None
    ) -> None:
        with contextlib.suppress(*task.RETRIED):
            await transact(self, outputs, rows, offsets, now, elsewhere)

    with mock.patch.object(TransactionalProducer, "transact", careless):
        yield


@contextmanager
def sweeps_through_a_backlog() -> Iterator[None]:
    """A sweep goes up to the clock, whatever is unread."""

    async def limit(self: InputReader, _buffer: Any) -> SweepLimit:
        return SweepLimit(self._context.clock.now(), self._context.clock.now())

    with mock.patch.object(InputReader, "sweep_limit", limit):
        yield


@contextmanager
def uncommitted_is_read() -> Iterator[None]:
    """Readers take what is not committed."""
    consumer = clients.consumer

    def careless(settings: Any, *topics: str, **more: Any) -> Any:
        return consumer(settings, *topics, **({"isolation_level": "read_uncommitted"} | more))

    with mock.patch.object(clients, "consumer", careless):
        yield


@contextmanager
def what_is_not_decided_is_not_erased() -> Iterator[None]:
    """Whoever erases reads up to what is committed, and not what is about to be."""

    async def committed(settings: Any, partitions: Any) -> dict[Any, int]:
        reader = clients.consumer(settings)
        await reader.start()
        try:
            ends: dict[Any, int] = await reader.end_offsets(list(partitions))
            return ends
        finally:
            await clients.stop(reader)

    with mock.patch.object(clients, "log_end_offsets", committed):
        yield


@contextmanager
def erased_learners_rows_are_stored() -> Iterator[None]:
    """The sink stores whatever comes, though it knows the erasure marker."""
    with mock.patch.object(writer.Writer, "_admitted", lambda _self, batch, _markers: batch):
        yield


@contextmanager
def a_refused_record_is_blamed_at_once() -> Iterator[None]:
    """The sink does not ask whether Postgres would store the batch without it."""

    async def nothing(_self: Sink, _batch: Any, _target: Any) -> None: ...

    with mock.patch.object(Sink, "_attempt_nothing", nothing):
        yield


@contextmanager
def markers_hold_nothing_back() -> Iterator[None]:
    """An erasure marker is carried out once; what comes later of the learner is folded."""
    with mock.patch.object(Erasing, "admit", lambda _self, batches, _counts: batches):
        yield


@contextmanager
def a_marker_that_is_overtaken_is_left() -> Iterator[None]:
    """An old consent published again is the last word on the topic."""
    with mock.patch.object(ErasureMarkers, "overtaken", return_value=[]):
        yield


@contextmanager
def the_publishers_repeats_are_counted() -> Iterator[None]:
    """A row does not recognise an event that was published again (only the product's engine does)."""

    def all_new(_rows: Any, _who: Any, _ids: Any, _kind: Any, allowed: Any) -> Any:
        return allowed.copy()

    with mock.patch.object(deduplication, "recognise", all_new):
        yield


MUTANTS: dict[str, Mutant] = {
    made.__name__: made
    for made in (
        no_fence,
        offsets_read_before_the_fence,
        offsets_that_another_moved_are_refused,
        a_loading_coordinator_says_there_is_none,
        sink_offsets_without_a_lock,
        rebalance_without_the_sinks_lock,
        partition_numbers_without_a_lock,
        gaps_are_taken,
        repeats_are_taken,
        strays_are_left,
        offsets_outside_the_transaction,
        state_kept_after_a_failure,
        sweeps_through_a_backlog,
        uncommitted_is_read,
        what_is_not_decided_is_not_erased,
        erased_learners_rows_are_stored,
        a_refused_record_is_blamed_at_once,
        markers_hold_nothing_back,
        a_marker_that_is_overtaken_is_left,
    )
}
