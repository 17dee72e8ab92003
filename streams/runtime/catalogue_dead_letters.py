"""Dead letters about the catalogue and the erasures, which every worker follows: partition 0 writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiokafka import ConsumerRecord, TopicPartition

from lyo.streams.dead_letters import encode
from lyo.streams.producers.transactional_producer import TransactionalProducer
from lyo.streams.runtime.context import TaskContext


class CatalogueDeadLetters:
    """Writes one dead letter for each refused record of the followed topics.

    The offsets of the followed topics are committed in the same transaction, so the next owner of partition
    number 0 knows which dead letters are written.
    """

    def __init__(self, context: TaskContext, offsets: Mapping[TopicPartition, int]) -> None:
        self._context = context
        self._offsets = dict(offsets)

    async def send(
        self, producer: TransactionalProducer, is_erased: Callable[[ConsumerRecord], bool]
    ) -> None:
        """Write the dead letters that are missing, except those about learners who stay erased."""
        context = self._context
        position = context.catalogue.position
        refused = context.catalogue.rejected_from(self._offsets)
        if not refused:
            return
        now = context.clock.now()
        pairs = [
            encode.dead_letter(record, rejected, now) for record, rejected in refused if not is_erased(record)
        ]
        await producer.transact({context.names.dead_letters: pairs}, {}, position, now)
        self._offsets = position
        context.counts["dead_letters"] += len(pairs)
