"""The monitor's metrics: every name, and a Prometheus collector that exports the newest look.

Each scrape has exactly the partitions of that look, so none remains of an earlier assignment. Unknown values
have no sample, and the status is then `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lyo.ops.monitor.snapshot import GroupLag, PartitionLag, Snapshot, Status

LAG_EVENTS: Final = "lyo_lag_events"
LAG_SECONDS: Final = "lyo_lag_seconds"
LAG_STATUS: Final = "lyo_lag_status"
LAG_DRAIN_SECONDS: Final = "lyo_lag_drain_seconds"
RATE_IN: Final = "lyo_lag_events_in_per_second"
RATE_OUT: Final = "lyo_lag_events_out_per_second"
GROUP_STATUS: Final = "lyo_group_status"
GROUP_MEMBERS: Final = "lyo_group_members"
PREDICTION_AGE_SECONDS: Final = "lyo_prediction_age_seconds"
SINK_DELAY_SECONDS: Final = "lyo_sink_delay_seconds"
RESTORING_PARTITIONS: Final = "lyo_restoring_partitions"
RESTORE_SECONDS: Final = "lyo_restore_remaining_seconds"
DEAD_LETTERS: Final = "lyo_dead_letters_total"
MISPLACED: Final = "lyo_dead_letters_misplaced_total"
EVENTS_LATE: Final = "lyo_events_late_total"
EVENTS_DUPLICATE: Final = "lyo_events_duplicate_total"
LEARNERS_OVERDUE: Final = "lyo_learners_overdue"
LEARNERS: Final = "lyo_learners"
OUTBOX_WAITING: Final = "lyo_outbox_waiting"
OUTBOX_AGE_SECONDS: Final = "lyo_outbox_age_seconds"
OUTBOX_REFUSED: Final = "lyo_outbox_refused"
MONITOR_REACHES: Final = "lyo_monitor_reaches"
MONITOR_LOOK: Final = "lyo_monitor_last_look_timestamp_seconds"
MONITOR_LOOK_SECONDS: Final = "lyo_monitor_look_seconds"

HELP: Final = {
    LAG_EVENTS: "Offsets from the group's position to the high-water mark.",
    LAG_SECONDS: "Age of the oldest unprocessed record (s); 0: there is none.",
    LAG_STATUS: "1 for the status that the topic-partition has, 0 for the others.",
    LAG_DRAIN_SECONDS: "Time until the group's lag is gone at the present rates (s).",
    RATE_IN: "Offsets written each second, of all partitions of the group.",
    RATE_OUT: "Offsets processed each second, of all partitions of the group.",
    GROUP_STATUS: "1 for the status of the group's worst partition, 0 for the others.",
    GROUP_MEMBERS: "Members of the group.",
    PREDICTION_AGE_SECONDS: "Age of the newest prediction of a kind (s).",
    SINK_DELAY_SECONDS: "Age of the oldest record that is not in Postgres yet (s); 0: there is none.",
    RESTORING_PARTITIONS: "Partition numbers that have an owner and are not known to be open yet.",
    RESTORE_SECONDS: "Time until they are open, estimated from the size of their changelogs (s).",
    DEAD_LETTERS: "Dead letters by the topic of the record.",
    MISPLACED: "Dead letters about records that another partitioner put in a wrong partition, by topic.",
    EVENTS_LATE: "Events that arrived more than 90 days late.",
    EVENTS_DUPLICATE: "Events that were published again and recognised.",
    LEARNERS_OVERDUE: "Learners that were due for a new prediction and are not swept yet.",
    LEARNERS: "Learners with a dropout prediction in Postgres.",
    OUTBOX_WAITING: "Rows of the outbox that are not sent yet.",
    OUTBOX_AGE_SECONDS: "Age of the oldest of them (s); 0: there is none.",
    OUTBOX_REFUSED: "Rows of the outbox that Kafka refused.",
    MONITOR_REACHES: "1 if the broker or Postgres answered the last look, 0 if not.",
    MONITOR_LOOK: "When the last look was finished (s since the epoch).",
    MONITOR_LOOK_SECONDS: "How long the last look took (s).",
}
"""Every metric of the monitor with its help."""

_PLACE: Final = ("group", "topic", "partition")


class Lag(Collector):
    """Exports the newest look; nothing before the first."""

    def __init__(self, newest: Callable[[], Snapshot | None]) -> None:
        self._newest = newest

    def collect(self) -> Iterator[Metric]:
        """All families, with the known samples."""
        snapshot = self._newest()
        if snapshot is None:
            return
        partitions = [partition for group in snapshot.groups for partition in group.partitions]
        yield from _of_partitions(partitions)
        yield from _of_groups(snapshot.groups)
        yield from _of_members(snapshot)
        yield from _of_outputs(snapshot)
        yield from _of_postgres(snapshot)
        yield from _of_itself(snapshot)


def _gauge(
    name: str, labels: Iterable[str], samples: Iterable[tuple[tuple[str, ...], float | None]]
) -> Metric:
    family = GaugeMetricFamily(name, HELP[name], labels=tuple(labels))
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family


def _counter(
    name: str, labels: Iterable[str], samples: Iterable[tuple[tuple[str, ...], int | None]]
) -> Metric:
    family = CounterMetricFamily(name, HELP[name], labels=tuple(labels))
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family


def _place(lag: PartitionLag) -> tuple[str, ...]:
    return lag.group, lag.topic, str(lag.partition)


def _of_partitions(lags: list[PartitionLag]) -> Iterator[Metric]:
    yield _gauge(LAG_EVENTS, _PLACE, ((_place(lag), lag.events) for lag in lags))
    yield _gauge(LAG_SECONDS, _PLACE, ((_place(lag), lag.seconds) for lag in lags))
    yield _gauge(
        LAG_STATUS,
        (*_PLACE, "status"),
        (((*_place(lag), status), float(lag.status is status)) for lag in lags for status in Status),
    )


def _of_groups(groups: Iterable[GroupLag]) -> Iterator[Metric]:
    lags = list(groups)
    yield _gauge(LAG_DRAIN_SECONDS, ("group",), (((lag.group,), lag.drain_seconds) for lag in lags))
    yield _gauge(RATE_IN, ("group",), (((lag.group,), lag.rate_in) for lag in lags))
    yield _gauge(RATE_OUT, ("group",), (((lag.group,), lag.rate_out) for lag in lags))
    yield _gauge(GROUP_MEMBERS, ("group",), (((lag.group,), lag.members) for lag in lags))
    yield _gauge(
        GROUP_STATUS,
        ("group", "status"),
        (((lag.group, status), float(lag.status is status)) for lag in lags for status in Status),
    )


def _of_members(snapshot: Snapshot) -> Iterator[Metric]:
    known = snapshot.kafka.ok
    numbers = sum(len(member.restoring) for member in snapshot.members)
    remaining = [member.restore_seconds for member in snapshot.members if member.restore_seconds is not None]
    yield _gauge(RESTORING_PARTITIONS, (), [((), numbers if known else None)])
    yield _gauge(RESTORE_SECONDS, (), [((), max(remaining, default=0.0) if known else None)])


def _of_outputs(snapshot: Snapshot) -> Iterator[Metric]:
    ages = (((age.kind,), age.age_seconds) for age in snapshot.predictions)
    yield _gauge(PREDICTION_AGE_SECONDS, ("kind",), ages)
    yield _gauge(SINK_DELAY_SECONDS, (), [((), snapshot.sink_delay_seconds)])
    letters = snapshot.dead_letters
    for name, by_topic in ((DEAD_LETTERS, letters.by_topic), (MISPLACED, letters.misplaced)):
        counts = _from_zero(snapshot, by_topic).items()
        yield _counter(name, ("topic",), (((topic,), count) for topic, count in counts))
    yield _counter(EVENTS_LATE, (), [((), snapshot.late)])
    yield _counter(EVENTS_DUPLICATE, (), [((), snapshot.duplicates)])


def _from_zero(snapshot: Snapshot, by_topic: dict[str, int]) -> dict[str, int]:
    """Dead letters by topic, 0 if there are none: Prometheus sees no increase in a series' first value."""
    if snapshot.dead_letters.total is None:
        return {}
    read = {partition.topic: 0 for group in snapshot.groups for partition in group.partitions}
    return read | by_topic


def _of_postgres(snapshot: Snapshot) -> Iterator[Metric]:
    stored = snapshot.stored
    yield _gauge(LEARNERS_OVERDUE, (), [((), stored.overdue)])
    yield _gauge(LEARNERS, (), [((), stored.learners)])
    yield _gauge(OUTBOX_WAITING, (), [((), stored.outbox_waiting)])
    yield _gauge(OUTBOX_AGE_SECONDS, (), [((), stored.outbox_seconds)])
    yield _gauge(OUTBOX_REFUSED, (), [((), stored.outbox_refused)])


def _of_itself(snapshot: Snapshot) -> Iterator[Metric]:
    reached = ((("kafka",), snapshot.kafka.ok), (("postgres",), snapshot.postgres.ok))
    yield _gauge(MONITOR_REACHES, ("what",), ((labels, float(ok)) for labels, ok in reached))
    yield _gauge(MONITOR_LOOK, (), [((), snapshot.at / 1000)])
    yield _gauge(MONITOR_LOOK_SECONDS, (), [((), snapshot.took_seconds)])
