"""What `lyo doctor` makes of clusters that no test machine has: several brokers, old ones, lost replicas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lyo.ops.doctor import kafka_checks, topic_checks
from lyo.ops.doctor.cluster import Cluster, Topic, group_ids
from lyo.ops.doctor.findings import Finding, Status, well
from lyo.streams import topics
from lyo.streams.kafka import protocol
from lyo.streams.settings import Settings

EVERYTHING = 0b1111111111000
SETTINGS = Settings(replication=3)


def sound(brokers: int = 3, settings: Settings = SETTINGS) -> Cluster:
    """A cluster with nothing wrong."""
    cluster = Cluster(brokers={number: f"kafka-{number}:9092" for number in range(brokers)}, level=25)
    cluster.settings = {number: {"auto.create.topics.enable": "false"} for number in cluster.brokers}
    cluster.groups = dict.fromkeys(group_ids(settings), EVERYTHING)
    for spec in topics.specs(settings):
        config = spec.config | {"min.insync.replicas": "2", "max.message.bytes": "1048588"}
        cluster.topics[spec.name] = Topic(spec.name, spec.partitions, 3, 3, 0, EVERYTHING, config)
    return cluster


def judged(cluster: Cluster, settings: Settings = SETTINGS) -> list[Finding]:
    return [*kafka_checks.judge(settings, cluster), *topic_checks.judge(settings, cluster)]


def only(cluster: Cluster, settings: Settings = SETTINGS) -> Finding:
    """The one finding that is not well; a cluster without offsets leaves the time stamps unknown."""
    found = [one for one in judged(cluster, settings) if one.status is not Status.OK]
    (finding,) = [one for one in found if one.check != "clock.events"]
    return finding


def test_a_sound_cluster_is_well() -> None:
    found = [one for one in judged(sound()) if one.check != "clock.events"]
    assert {one.status for one in found} == {Status.OK}
    assert {one.check for one in found} == {*kafka_checks.CHECKS, *topic_checks.CHECKS} - {"clock.events"}


def test_every_finding_that_is_not_well_says_what_to_do() -> None:
    empty = Cluster(brokers={1: "kafka-1:9092"})
    found = judged(empty)
    assert found
    assert all(one.to_do for one in found if one.status is not Status.OK)
    assert not well(found)


@pytest.mark.parametrize(("level", "status"), [(None, "warning"), (20, "warning"), (21, "ok"), (33, "ok")])
def test_a_cluster_older_than_any_that_was_tried_is_a_warning(level: int | None, status: str) -> None:
    cluster = sound()
    cluster.level = level
    (found,) = [one for one in judged(cluster) if one.check == "kafka.version"]
    assert found.status == status


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"leaderless": 1}, "error", "have no leader"),
        ({"in_sync": 1}, "error", "min.insync.replicas=2, and a partition has 1 in sync"),
        ({"in_sync": 2}, "warning", "2 of 3 replicas in sync"),
        ({"replicas": 2, "in_sync": 2}, "warning", "2 replicas where LYO_REPLICATION says 3"),
    ],
)
def test_lost_replicas_are_told_by_what_they_mean(change: dict[str, Any], status: str, says: str) -> None:
    cluster, name = sound(), topics.LEARNER_ROWS
    cluster.topics[name] = replace(cluster.topics[name], **change)
    found = only(cluster)
    assert (found.check, found.about, found.status) == ("topics.replication", name, status)
    assert says in found.found


def test_one_replica_that_may_acknowledge_alone_is_a_warning() -> None:
    cluster, name = sound(), topics.LEARNER_ROWS
    config = dict(cluster.topics[name].config or {}) | {"min.insync.replicas": "1"}
    cluster.topics[name] = replace(cluster.topics[name], config=config)
    assert only(cluster).to_do.endswith("--add-config min.insync.replicas=2")


@pytest.mark.parametrize(
    ("brokers", "replication", "status"),
    [(3, 3, "ok"), (5, 3, "ok"), (5, 1, "warning"), (1, 1, "warning"), (2, 3, "error")],
)
def test_replication_is_held_against_the_number_of_brokers(
    brokers: int, replication: int, status: str
) -> None:
    settings = Settings(replication=replication)
    found = [
        one for one in judged(sound(brokers, settings), settings) if one.check == "kafka.replication"
    ]  # fmt: skip
    assert [one.status for one in found] == [status]


def test_internal_topics_with_one_replica_on_three_brokers_are_a_warning() -> None:
    cluster = sound()
    cluster.topics["__consumer_offsets"] = Topic("__consumer_offsets", 50, 1, 1, 0, EVERYTHING)
    found = only(cluster)
    assert (found.about, found.status) == ("__consumer_offsets", "warning")


@pytest.mark.parametrize(
    ("key", "value", "status"),
    [
        ("auto.create.topics.enable", "true", "warning"),
        ("transaction.max.timeout.ms", "1000", "error"),
        ("group.min.session.timeout.ms", "60000", "error"),
        ("offsets.retention.minutes", "60", "warning"),
    ],
)
def test_a_brokers_settings_are_held_against_ours(key: str, value: str, status: str) -> None:
    cluster = sound()
    cluster.settings[1] = {key: value}
    found = only(cluster)
    assert (found.check, found.about, found.status) == ("kafka.settings", "broker 1", status)
    assert key in found.to_do


def test_what_may_not_be_read_is_unknown_and_not_well() -> None:
    cluster, name = sound(), topics.LEARNER_ROWS
    cluster.settings[2] = None
    cluster.topics[name] = replace(cluster.topics[name], config=None)
    found = [one for one in judged(cluster) if one.status is Status.UNKNOWN and one.check != "clock.events"]
    assert [(one.check, one.about) for one in found] == [
        ("kafka.settings", "broker 2"),
        ("topics.settings", name),
    ]
    assert not well(found)


def test_a_topic_whose_records_may_be_too_large_for_it_is_an_error() -> None:
    cluster, name = sound(), topics.LEARNER_ROWS
    config = dict(cluster.topics[name].config or {}) | {"max.message.bytes": "1000"}
    cluster.topics[name] = replace(cluster.topics[name], config=config)
    assert "LYO_OUTPUT_BATCH_BYTES" in only(cluster).found


def test_operations_are_bits() -> None:
    read_only = 1 << protocol.Operation.READ
    assert protocol.allows(read_only, protocol.Operation.READ)
    assert not protocol.allows(read_only, protocol.Operation.WRITE)


def test_a_hidden_topic_is_not_missing_and_never_a_reason_to_create_or_rebuild() -> None:
    cluster = sound()
    name = topics.names(SETTINGS).learner_rows
    del cluster.topics[name]
    cluster.hidden = frozenset({name})
    found = [one for one in judged(cluster) if one.status is not Status.OK and one.check != "clock.events"]
    assert {(one.check, one.status) for one in found} == {
        ("topics.there", Status.UNKNOWN),
        ("kafka.permissions", Status.ERROR),
    }
    assert all(one.fix is None for one in found)
    (permission,) = [one for one in found if one.check == "kafka.permissions"]
    assert "--operation Describe --operation Read --operation Write" in permission.to_do


def test_an_idempotent_producer_that_is_refused_is_named_with_the_right() -> None:
    cluster = sound()
    cluster.idempotence = "ClusterAuthorizationFailedError"
    assert only(cluster).to_do.endswith("--operation IdempotentWrite --cluster")
