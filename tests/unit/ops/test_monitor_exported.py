"""What Prometheus is told: the partitions of the newest look alone, and nothing of what is unknown."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from lyo.ops.monitor import exported
from lyo.ops.monitor.snapshot import DeadLetterSummary, Reached, Snapshot, Status, Stored
from tests.support.monitor.snapshots import AT, group, nothing, one, snapshot


class Looks:
    """A monitor's newest look."""

    def __init__(self, newest: Snapshot | None) -> None:
        self.newest = newest
        self.registry = CollectorRegistry()
        self.registry.register(exported.Lag(lambda: self.newest))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def names(self) -> set[str]:
        return {sample.name for family in self.registry.collect() for sample in family.samples}


def place(number: int) -> dict[str, str]:
    return {"group": "lyo", "topic": "lyo.sessions", "partition": str(number)}


def test_before_the_first_look_nothing_is_exported() -> None:
    assert Looks(None).names() == set()


def test_every_metric_is_there_and_is_what_the_look_says() -> None:
    looks = Looks(snapshot(group(one(0, events=5, seconds=2.5), events=5, drain_seconds=9.0)))
    assert looks.names() == set(exported.HELP)
    assert looks.value(exported.LAG_EVENTS, **place(0)) == 5
    assert looks.value(exported.LAG_SECONDS, **place(0)) == 2.5
    assert looks.value(exported.LAG_DRAIN_SECONDS, group="lyo") == 9.0
    assert looks.value(exported.PREDICTION_AGE_SECONDS, kind="dropout-risk") == 5.0
    assert looks.value(exported.SINK_DELAY_SECONDS) == 0.5
    assert looks.value(exported.DEAD_LETTERS, topic="lyo.sessions") == 1
    assert looks.value(exported.MISPLACED, topic="lyo.sessions") == 1
    assert looks.value(exported.EVENTS_LATE) == 3
    assert looks.value(exported.EVENTS_DUPLICATE) == 4
    assert looks.value(exported.LEARNERS_OVERDUE) == 2
    assert looks.value(exported.RESTORING_PARTITIONS) == 1
    assert looks.value(exported.RESTORE_SECONDS) == 2.5
    assert looks.value(exported.OUTBOX_AGE_SECONDS) == 1.5
    assert looks.value(exported.MONITOR_LOOK) == AT / 1000


def test_one_status_is_one_and_the_others_are_zero() -> None:
    looks = Looks(snapshot(group(one(0, status=Status.STALLED))))
    said = {status: looks.value(exported.LAG_STATUS, **place(0), status=status.value) for status in Status}
    assert said == {status: float(status is Status.STALLED) for status in Status}


def test_what_is_unknown_has_no_value_and_the_status_unknown() -> None:
    away = Reached(ok=False, why="no answer")
    looks = Looks(
        snapshot(
            group(nothing(0), status=Status.UNKNOWN, events=None, members=None, rate_in=None, rate_out=None),
            kafka=away,
            postgres=away,
            predictions=(),
            dead_letters=DeadLetterSummary(),
            stored=Stored(),
            late=None,
            duplicates=None,
            sink_delay_seconds=None,
        )
    )
    assert looks.value(exported.LAG_EVENTS, **place(0)) is None
    assert looks.value(exported.LAG_SECONDS, **place(0)) is None
    assert looks.value(exported.LAG_STATUS, **place(0), status="unknown") == 1
    assert looks.value(exported.SINK_DELAY_SECONDS) is None
    assert looks.value(exported.RESTORING_PARTITIONS) is None
    assert looks.value(exported.LEARNERS_OVERDUE) is None
    assert looks.value(exported.EVENTS_LATE) is None
    assert looks.value(exported.MONITOR_REACHES, what="kafka") == 0


def test_a_partition_that_is_gone_leaves_nothing_behind() -> None:
    looks = Looks(snapshot(group(one(0), one(1))))
    assert looks.value(exported.LAG_EVENTS, **place(1)) == 0
    looks.newest = snapshot(group(one(0)))
    assert looks.value(exported.LAG_EVENTS, **place(1)) is None


def test_letters_that_are_not_all_counted_are_unknown() -> None:
    looks = Looks(snapshot(dead_letters=DeadLetterSummary(total=None, by_topic={"lyo.sessions": 3})))
    assert looks.value(exported.DEAD_LETTERS, topic="lyo.sessions") is None


def test_a_topic_without_letters_has_none_so_that_its_first_ones_are_an_increase() -> None:
    looks = Looks(
        snapshot(group(one(0)), dead_letters=DeadLetterSummary(total=2, by_topic={"lyo.content": 2}))
    )
    assert looks.value(exported.DEAD_LETTERS, topic="lyo.sessions") == 0
    assert looks.value(exported.MISPLACED, topic="lyo.sessions") == 0
    assert looks.value(exported.DEAD_LETTERS, topic="lyo.content") == 2


def test_a_scrape_says_what_each_metric_is() -> None:
    text = generate_latest(Looks(snapshot()).registry).decode()
    for name, said in exported.HELP.items():
        assert f"# HELP {name} {said}" in text
