"""What a task counts and measures of its batches, for Prometheus and the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from aiokafka import ConsumerRecord

from lyo.models.events.anomalies import notice
from lyo.models.events.decode import Columns, Kind
from lyo.streams import metrics
from lyo.streams.log import Complaint, logger
from lyo.streams.runtime.context import TaskContext
from lyo.streams.runtime.ports import Changes

COMPLAINT_SECONDS = 60.0
FAR_BEHIND = "late, or published again and counted twice (docs/rebuild.md)"

log = logger("task")


class TaskMetrics:
    """Counts transactions and measures batches of one task."""

    def __init__(self, number: int, context: TaskContext) -> None:
        self._context = context
        self._far_behind = Complaint(
            log, f"task={number} events far behind=%d: {FAR_BEHIND}", COMPLAINT_SECONDS
        )

    def transaction(
        self, changes: Changes, records: Mapping[Kind, Sequence[ConsumerRecord]], refused: int = 0
    ) -> None:
        """Count a committed transaction: its events by kind, its outputs, its dead letters."""
        counts = self._context.counts
        counts.update(changes.counts)
        self._far_behind.add(changes.counts["far_behind"])
        counts["transactions"] += 1
        for kind, of_kind in records.items():
            counts["events"] += len(of_kind)
            counts[f"events.{kind}"] += len(of_kind)
        counts["dead_letters"] += refused
        for prediction, pairs in changes.predictions.items():
            counts[f"predictions.{prediction}"] += len(pairs)
        counts["interventions.sent"] += len(changes.interventions)

    def batch(
        self, columns: list[Columns], records: Mapping[Kind, Sequence[ConsumerRecord]], seconds: float
    ) -> None:
        """Measure a batch: its duration, its size, the age of its oldest event, anomalies of its events."""
        metrics.BATCH_SECONDS.observe(seconds)
        metrics.BATCH_EVENTS.observe(sum(map(len, records.values())))
        oldest = min(of_kind[0].timestamp for of_kind in records.values() if of_kind)
        metrics.EVENT_SECONDS.observe(max(self._context.clock.now() - oldest, 0) / 1000)
        for decoded in columns:
            timestamps = np.fromiter((record.timestamp for record in records[decoded.kind]), np.int64)
            self._context.counts.update(notice(decoded, timestamps[decoded.index]))
