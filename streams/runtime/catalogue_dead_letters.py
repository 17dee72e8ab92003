"""Dead letters about the catalogue and the erasures, which every worker follows: partition 0 writes them."""

from __future__ import annotations

from collections.abc import Callable

from aiokafka import ConsumerRecord

from lyo.streams.dead_letters import encode
from lyo.streams.producers.transactional_producer import TransactionalProducer
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.opening import OpenState
from lyo.streams.runtime.restore import offsets_record


async def send_catalogue_dead_letters(
    context: TaskContext,
    state: OpenState,
    producer: TransactionalProducer,
    is_erased: Callable[[ConsumerRecord], bool],
) -> None:
    """Write one dead letter for each refused record of the followed topics, if it is missing.

    Learners who stay erased get none. The transaction also writes up to where letters are written: into the
    rows' changelog, from which the next owner of partition number 0 knows it, and into the group, whose
    offsets of these topics expire, for workers of other numbers and of earlier versions.
    """
    position = context.catalogue.position
    refused = context.catalogue.rejected_from(state.followed)
    if not refused:
        return
    now = context.clock.now()
    pairs = [
        encode.dead_letter(record, rejected, now) for record, rejected in refused if not is_erased(record)
    ]
    rows = {context.names.learner_rows: [offsets_record(state.recorded, state.topic_ids, position)]}
    await producer.transact({context.names.dead_letters: pairs}, rows, position, now)
    state.followed = position
    context.counts["dead_letters"] += len(pairs)
