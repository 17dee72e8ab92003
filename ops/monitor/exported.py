"""The monitor's metrics: every name, and a Prometheus collector that makes them of the newest look.

Each scrape sees exactly the partitions of that look, so none is left over from an earlier assignment. What is
unknown has no sample (Prometheus then knows no value), and its status says `unknown`.
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
    LAG_DRAIN_SECONDS: "Until the group's lag is gone at the present rates (s).",
    RATE_IN: "Offsets written each second, of all partitions of the group.",
    RATE_OUT: "Offsets processed each second, of all partitions of the group.",
    GROUP_STATUS: "1 for the status of the group's worst partition, 0 for the others.",
    GROUP_MEMBERS: "Members of the group.",
    PREDICTION_AGE_SECONDS: "Age of the newest prediction of a kind (s).",
    SINK_DELAY_SECONDS: "Age of the oldest record that is not in Postgres yet (s); 0: there is none.",
    RESTORING_PARTITIONS: "Partition numbers that have an owner and are not known to be open yet.",
    RESTORE_SECONDS: "Until they are open, estimated from the size of their changelogs (s).",
    DEAD_LETTERS: "Dead letters by the topic of the record.",
    EVENTS_LATE: "Events that came more than 90 days late.",
    EVENTS_DUPLICATE: "Events published again and recognised.",
    LEARNERS_OVERDUE: "Learners that were due for a new prediction and are not swept yet.",
    LEARNERS: "Learners with a dropout prediction in Postgres.",
    OUTBOX_WAITING: "Rows of the outbox that are not sent yet.",
    OUTBOX_AGE_SECONDS: "Age of the oldest of them (s); 0: there is none.",
    OUTBOX_REFUSED: "Rows of the outbox that Kafka refused.",
    MONITOR_REACHES: "1 if the broker or Postgres answered the last look, 0 if not.",
    MONITOR_LOOK: "When the last look was finished (s since the epoch).",
    MONITOR_LOOK_SECONDS: "How long the last look took (s).",
}
"""Every metric of the monitor with what it says."""

_PLACE: Final = ("group", "topic", "partition")


class Lag(Collector):
    """Makes the metrics of the newest look; none before the first."""

    def __init__(self, newest: Callable[[], Snapshot | None]) -> None:
        self._newest = newest

    def collect(self) -> Iterator[Metric]:
        """Every family, with the samples that are known."""
        snapshot = self._newest()
        if snapshot is None:
            return
        partitions = [one for group in snapshot.groups for one in group.partitions]
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


def _place(one: PartitionLag) -> tuple[str, ...]:
    return one.group, one.topic, str(one.partition)


def _of_partitions(partitions: list[PartitionLag]) -> Iterator[Metric]:
    yield _gauge(LAG_EVENTS, _PLACE, ((_place(one), one.events) for one in partitions))
    yield _gauge(LAG_SECONDS, _PLACE, ((_place(one), one.seconds) for one in partitions))
    yield _gauge(
        LAG_STATUS,
        (*_PLACE, "status"),
        (((*_place(one), status), float(one.status is status)) for one in partitions for status in Status),
    )


def _of_groups(groups: Iterable[GroupLag]) -> Iterator[Metric]:
    some = list(groups)
    yield _gauge(LAG_DRAIN_SECONDS, ("group",), (((one.group,), one.drain_seconds) for one in some))
    yield _gauge(RATE_IN, ("group",), (((one.group,), one.rate_in) for one in some))
    yield _gauge(RATE_OUT, ("group",), (((one.group,), one.rate_out) for one in some))
    yield _gauge(GROUP_MEMBERS, ("group",), (((one.group,), one.members) for one in some))
    yield _gauge(
        GROUP_STATUS,
        ("group", "status"),
        (((one.group, status), float(one.status is status)) for one in some for status in Status),
    )


def _of_members(snapshot: Snapshot) -> Iterator[Metric]:
    known = snapshot.kafka.ok
    numbers = sum(len(member.restoring) for member in snapshot.members)
    remaining = [member.restore_seconds for member in snapshot.members if member.restore_seconds is not None]
    yield _gauge(RESTORING_PARTITIONS, (), [((), numbers if known else None)])
    yield _gauge(RESTORE_SECONDS, (), [((), max(remaining, default=0.0) if known else None)])


def _of_outputs(snapshot: Snapshot) -> Iterator[Metric]:
    ages = (((one.kind,), one.age_seconds) for one in snapshot.predictions)
    yield _gauge(PREDICTION_AGE_SECONDS, ("kind",), ages)
    yield _gauge(SINK_DELAY_SECONDS, (), [((), snapshot.sink_delay_seconds)])
    yield _counter(DEAD_LETTERS, ("topic",), (((topic,), count) for topic, count in _dead_letters(snapshot)))
    yield _counter(EVENTS_LATE, (), [((), snapshot.late)])
    yield _counter(EVENTS_DUPLICATE, (), [((), snapshot.duplicates)])


def _dead_letters(snapshot: Snapshot) -> Iterable[tuple[str, int]]:
    """Letters by topic, 0 where there is none: Prometheus sees no increase in a series' first value."""
    if snapshot.dead_letters.total is None:
        return ()
    read = {one.topic: 0 for group in snapshot.groups for one in group.partitions}
    return (read | snapshot.dead_letters.by_topic).items()


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
