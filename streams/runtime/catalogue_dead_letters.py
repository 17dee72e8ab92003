"""Dead letters about the catalogue and the erasures, which every worker follows: partition 0 writes them."""

from __future__ import annotations

from collections.abc import Callable

from aiokafka import ConsumerRecord, TopicPartition

from lyo.streams.dead_letters import encode
from lyo.streams.producers.transactional_producer import Pair, TransactionalProducer
from lyo.streams.runtime.context import TaskContext

Offsets = dict[TopicPartition, int]


async def send_catalogue_dead_letters(
    context: TaskContext,
    producer: TransactionalProducer,
    written: Offsets,
    record_of: Callable[[Offsets], Pair],
    is_erased: Callable[[ConsumerRecord], bool],
) -> Offsets:
    """Write one dead letter for each refused record of the followed topics, from the offsets ``written`` on.

    Gives up to where they are written now; ``record_of`` makes the changelog's offsets record of it. Learners
    who stay erased get none. The transaction also writes up to where letters are written: into the
    rows' changelog, from which the next owner of partition number 0 knows it, and into the group, whose
    offsets of these topics expire, for workers of other numbers and of earlier versions.
    """
    position = context.catalogue.position
    refused = context.catalogue.rejected_from(written)
    if not refused:
        return written
    now = context.clock.now()
    pairs = [
        encode.dead_letter(record, rejected, now) for record, rejected in refused if not is_erased(record)
    ]
    rows = {context.names.learner_rows: [record_of(position)]}
    await producer.transact({context.names.dead_letters: pairs}, rows, position, now)
    context.counts["dead_letters"] += len(pairs)
    return position
