"""Opening a task: restore the state of its partition number and find the offsets to continue from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from aiokafka import TopicPartition

from lyo.streams.kafka.offset_metadata import EventCounts
from lyo.streams.log import logger
from lyo.streams.producers.transactional_producer import TransactionalProducer
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.ports import Engine
from lyo.streams.runtime.progress import Progress
from lyo.streams.runtime.restore import (
    OffsetError,
    OffsetsBehind,
    Restored,
    committed_counts,
    committed_offsets,
    restore,
    same_topics,
)

RETRY_SECONDS = 1.0

log = logger("task")


@dataclass(slots=True)
class OpenState:
    """What an open task works with. After a failure it is discarded and restored from what was committed.

    Attributes:
        engine: the state of the partition number's learners.
        rows: how many records were restored.
        offsets: the committed offsets of the inputs.
        recorded: the offsets that the changelog's newest offsets record holds.
        topic_ids: of the topics that the rows follow from or lie in, by name.
        followed: up to where the followed topics' dead letters are written; of number 0 only.
        counts: late and duplicate events, committed as the offsets' metadata.
    """

    engine: Engine
    rows: int
    offsets: dict[TopicPartition, int]
    recorded: dict[TopicPartition, int]
    topic_ids: dict[str, str]
    counts: EventCounts
    followed: dict[TopicPartition, int]


class Opening:
    """Takes a partition number over: starts its producer, restores the engine, reads the offsets."""

    def __init__(
        self,
        number: int,
        context: TaskContext,
        partitions: Collection[TopicPartition],
        progress: Progress,
        is_closing: Callable[[], bool],
    ) -> None:
        self._number = number
        self._context = context
        self._partitions = partitions
        self._progress = progress
        self._is_closing = is_closing

    async def open(self, producer: TransactionalProducer) -> OpenState | None:
        """Give the restored state; None if the task was closed while it waited for its turn.

        Raises:
            OffsetError, RestoreError: rows, topics and committed offsets do not fit together.
            ProducerFenced: another worker has opened this number since.
        """
        context, progress = self._context, self._progress
        engine = context.engine()
        await producer.start()
        context.failpoints("fenced")
        progress.is_queued = True
        async with context.restoring:
            progress.is_queued = False
            if self._is_closing():
                return None
            progress.opening()
            restored = await restore(context.settings, context.names, self._number, engine, progress.read)
        if restored.misplaced:
            log.warning(
                "task=%d left out keys=%d of other numbers' learners: see `lyo misplaced`",
                self._number,
                restored.misplaced,
            )
        context.failpoints("restored")
        # Offsets are read only now: the earlier owner is fenced and cannot move them any more.
        offsets, topic_ids = await self.agreed_offsets(producer, restored)
        counts = await committed_counts(context.admin, context.settings, self._partitions)
        followed = await self._followed(restored) if self._number == 0 else {}
        return OpenState(engine, restored.rows, offsets, dict(restored.offsets), topic_ids, counts, followed)

    async def _followed(self, restored: Restored) -> dict[TopicPartition, int]:
        """The followed topics' offsets: the rows' ones, or the group's if they are higher.

        The group's expire. But an earlier version writes them alone, and hands the rows' ones on as they are.
        """
        context = self._context
        committed = await committed_offsets(
            context.admin, context.offsets, context.settings, context.catalogue.partitions
        )
        return {tp: max(offset, restored.followed.get(tp, 0)) for tp, offset in committed.items()}

    async def agreed_offsets(
        self, producer: TransactionalProducer, restored: Restored
    ) -> tuple[dict[TopicPartition, int], dict[str, str]]:
        """The committed offsets of the inputs, once they agree with the rows, and the topics' ids.

        Raises:
            OffsetError: offsets, topics and rows do not fit together.
            ProducerFenced: another worker has opened this number since the rows were read, and moved them.
        """
        context, waited = self._context, 0.0
        while True:
            try:
                topic_ids = await same_topics(context.admin, context.names, restored)
                offsets = await committed_offsets(
                    context.admin, context.offsets, context.settings, self._partitions, restored
                )
            except OffsetError as error:
                await producer.prove(self._partitions)
                may_recover = (
                    isinstance(error, OffsetsBehind) and waited < context.settings.stalled_seconds / 2
                )
                if not may_recover or self._is_closing():
                    raise
                if not waited:
                    log.warning("task=%d reads the group's offsets again: %s", self._number, error)
            else:
                return offsets, topic_ids
            # For minutes after a crash a broker was observed to answer with offsets from long before.
            await asyncio.sleep(RETRY_SECONDS)
            waited += RETRY_SECONDS
