"""Judges a cluster: versions, brokers, replication, permissions, groups, timestamps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from aiokafka import TopicPartition

from lyo.ops.doctor.cluster import Cluster
from lyo.ops.doctor.findings import Finding, error, ok, unknown, warning
from lyo.streams import topics
from lyo.streams.clock import Clock
from lyo.streams.kafka import protocol
from lyo.streams.runtime.restore import REBUILD
from lyo.streams.settings import Settings

OLDEST_LEVEL: Final = 21
"""`metadata.version` of Kafka 3.9, the oldest that was tested."""

WANTED_REPLICAS: Final = 3
INTERNAL: Final = ("__consumer_offsets", "__transaction_state")
LEAST_RETENTION_MINUTES: Final = 7 * 24 * 60
"""A group that is away for a week must find its offsets again."""

CHECKS: Final = (
    "kafka.version",
    "kafka.settings",
    "kafka.replication",
    "kafka.permissions",
    "kafka.transactions",
    "kafka.idempotence",
    "kafka.offsets",
    "clock.events",
)


def judge(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    """All findings except those about topics, which are in `topic_checks`."""
    yield _version(cluster)
    yield from _broker_settings(settings, cluster)
    yield from _replication(settings, cluster)
    yield from _permissions(settings, cluster)
    yield _transactions(settings, cluster)
    yield _idempotence(settings, cluster)
    yield from _offsets(settings, cluster)
    yield _stamps(settings, cluster)


def _version(cluster: Cluster) -> Finding:
    about = ", ".join(cluster.brokers.values())
    if cluster.level is None:
        return warning(
            "kafka.version",
            about,
            "the cluster names no metadata.version: it is older than Kafka 3.3, or still on ZooKeeper",
            "upgrade to Kafka 3.9 or newer; older ones were never tried",
        )
    if cluster.level < OLDEST_LEVEL:
        return warning(
            "kafka.version",
            about,
            f"metadata.version {cluster.level} is older than Kafka 3.9 ({OLDEST_LEVEL}), the oldest tried",
            "upgrade Kafka, then finish it with kafka-features.sh upgrade --release-version",
        )
    return ok("kafka.version", about, f"metadata.version {cluster.level} (3.9 is {OLDEST_LEVEL})")


# ---------------------------------------------------------------- brokers


def _broker_settings(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    before = True
    for broker, values in sorted(cluster.settings.items()):
        if values is None:
            to_do = "allow DescribeConfigs on the cluster, or look at server.properties yourself"
            yield unknown("kafka.settings", f"broker {broker}", "its settings may not be read", to_do)
            before = False
        else:
            found = list(_settings_of(settings, f"broker {broker}", values))
            yield from found
            before = before and not found
    if before and cluster.settings:
        yield ok("kafka.settings", f"{len(cluster.settings)} brokers", "they fit these settings")


def _settings_of(settings: Settings, about: str, values: Mapping[str, str]) -> Iterator[Finding]:
    if values.get("auto.create.topics.enable") == "true":
        yield warning(
            "kafka.settings",
            about,
            "auto.create.topics.enable=true: a misspelt name creates a topic nobody reads",
            "set auto.create.topics.enable=false",
        )
    for key, limit, fits, variable in (
        ("transaction.max.timeout.ms", settings.transaction_timeout_ms, 1, "LYO_TRANSACTION_TIMEOUT_MS"),
        ("group.max.session.timeout.ms", settings.session_timeout_ms, 1, "LYO_SESSION_TIMEOUT_MS"),
        ("group.min.session.timeout.ms", settings.session_timeout_ms, -1, "LYO_SESSION_TIMEOUT_MS"),
    ):
        value = values.get(key)
        if value is not None and (int(value) - limit) * fits < 0:
            word = "less" if fits > 0 else "more"
            yield error(
                "kafka.settings",
                about,
                f"{key}={value} is {word} than {variable}={limit}: Kafka refuses every worker",
                f"change one of the two: {key} at the broker or {variable}",
            )
    kept = values.get("offsets.retention.minutes")
    if kept is not None and int(kept) < LEAST_RETENTION_MINUTES:
        yield warning(
            "kafka.settings",
            about,
            f"offsets.retention.minutes={kept}: a group away for longer starts from the beginning",
            f"set offsets.retention.minutes to {LEAST_RETENTION_MINUTES} or more",
        )


# ---------------------------------------------------------------- replication


def _replication(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    count, wanted = len(cluster.brokers), settings.replication
    about = f"{count} broker{'' if count == 1 else 's'}"
    if wanted > count:
        yield error(
            "kafka.replication",
            about,
            f"LYO_REPLICATION={wanted}, and there {'is' if count == 1 else 'are'} {about}: "
            "no topic can be created",
            f"set LYO_REPLICATION to {count} or less, or add brokers",
        )
    elif wanted < min(WANTED_REPLICAS, count):
        yield warning(
            "kafka.replication",
            about,
            f"LYO_REPLICATION={wanted}: topics created now are lost with a broker's disk",
            f"set LYO_REPLICATION={min(WANTED_REPLICAS, count)} before topics are created",
        )
    elif count < WANTED_REPLICAS:
        yield warning(
            "kafka.replication",
            about,
            f"{about} and LYO_REPLICATION={wanted}: a lost disk is a lost log",
            f"good for one machine; for anything else, {WANTED_REPLICAS} brokers and "
            f"LYO_REPLICATION={WANTED_REPLICAS}",
        )
    else:
        yield ok("kafka.replication", about, f"LYO_REPLICATION={wanted}")
    yield from _internal(cluster)


def _internal(cluster: Cluster) -> Iterator[Finding]:
    enough = min(WANTED_REPLICAS, len(cluster.brokers))
    for name in INTERNAL:
        topic = cluster.topics.get(name)
        if topic is None:
            continue  # Kafka creates it with the first group or transaction
        if topic.leaderless:
            found = (
                f"{topic.leaderless} of {topic.partitions} partitions have no leader: nothing is committed"
            )
            yield error("kafka.replication", name, found, "bring the brokers that hold them back")
        elif topic.replicas < enough:
            found = f"{topic.replicas} replicas on {len(cluster.brokers)} brokers"
            to_do = f"move it to {enough} replicas with kafka-reassign-partitions.sh"
            yield warning("kafka.replication", name, found, to_do)


# ---------------------------------------------------------------- permissions


def _permissions(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    who = settings.sasl_username or "this client"
    missing = False
    for spec in topics.specs(settings):
        topic = cluster.topics.get(spec.name)
        if topic is None and spec.name in cluster.hidden:
            missing = True
            operations = (protocol.Operation.DESCRIBE, protocol.Operation.READ, protocol.Operation.WRITE)
            yield _forbidden(f"topic {spec.name}", who, [operation.name for operation in operations])
        if topic is None:
            continue  # reported by the topics' checks
        lacking = [
            operation.name for operation in (protocol.Operation.READ, protocol.Operation.WRITE)
            if not protocol.allows(topic.operations, operation)
        ]  # fmt: skip
        if lacking:
            missing = True
            yield _forbidden(f"topic {spec.name}", who, lacking)
    for group, answer in cluster.groups.items():
        if isinstance(answer, str):
            missing = True
            to_do = f"allow {who} READ on group {group}; if Kafka has only just begun, ask again"
            yield error("kafka.permissions", f"group {group}", f"it cannot be described: {answer}", to_do)
        elif not protocol.allows(answer, protocol.Operation.READ):
            missing = True
            yield _forbidden(f"group {group}", who, [protocol.Operation.READ.name])
    if not missing:
        yield ok("kafka.permissions", who, "READ and WRITE on every topic there is, READ on both groups")


def _forbidden(about: str, who: str, lacking: list[str]) -> Finding:
    kind, _, name = about.partition(" ")
    operations = " ".join(f"--operation {name.title()}" for name in lacking)
    return error(
        "kafka.permissions",
        about,
        f"{who} may not {' and '.join(lacking)}",
        f"kafka-acls.sh --add --allow-principal User:{who} {operations} --{kind} {name}",
    )


def _idempotence(settings: Settings, cluster: Cluster) -> Finding:
    who = settings.sasl_username or "this client"
    if cluster.idempotence is None:
        return ok("kafka.idempotence", who, "an idempotent producer can be started")
    return error(
        "kafka.idempotence",
        who,
        f"no idempotent producer can be started: {cluster.idempotence}",
        f"kafka-acls.sh --add --allow-principal User:{who} --operation IdempotentWrite --cluster",
    )


def _transactions(settings: Settings, cluster: Cluster) -> Finding:
    about = f"{settings.app_id}-*"
    if cluster.transactions is None:
        return ok("kafka.transactions", about, "one can be begun")
    return error(
        "kafka.transactions",
        about,
        f"none can be begun: {cluster.transactions}",
        f"allow WRITE on transactional ids that begin with {settings.app_id}- (kafka-acls.sh "
        "--resource-pattern-type prefixed), and see that __transaction_state has its replicas",
    )


# ---------------------------------------------------------------- offsets and time stamps


def _offsets(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    about = f"group {settings.app_id}"
    if isinstance(cluster.committed, str):
        to_do = "allow DESCRIBE on the group; if Kafka has only just begun, ask again"
        yield unknown("kafka.offsets", about, f"they cannot be read: {cluster.committed}", to_do)
        return
    outside = outside_of(cluster.committed, cluster.ranges)
    for topic, found in outside.items():
        yield error(
            "kafka.offsets",
            topic,
            f"{about} has committed an offset without a record: {found}",
            f"the topic was created again or has lost records: {REBUILD}",
        )
    if not outside:
        inputs = topics.names(settings).inputs
        count = sum(tp.topic in inputs for tp in cluster.committed)
        yield ok("kafka.offsets", about, f"{count} committed, all within their partitions")


def outside_of(
    committed: Mapping[TopicPartition, int], ranges: Mapping[TopicPartition, tuple[int, int]]
) -> dict[str, str]:
    """The topics with an offset outside of its partition, in words."""
    found: dict[str, list[str]] = defaultdict(list)
    for tp, offset in sorted(committed.items()):
        first, last = ranges.get(tp, (0, offset))
        if not first <= offset <= last:
            found[tp.topic].append(f"partition {tp.partition} at {offset}, records {first} to {last}")
    return {topic: "; ".join(lines) for topic, lines in found.items()}


def _stamps(settings: Settings, cluster: Cluster) -> Finding:
    if not cluster.ranges:
        return unknown("clock.events", "", "no topic to look at", "create the topics first")
    if not cluster.ahead:
        return ok("clock.events", "inputs", "no record is stamped later than now")
    tp, stamp = max(cluster.ahead.items(), key=lambda pair: pair[1])
    seconds = (stamp - Clock(settings.clock).now()) / 1000
    return warning(
        "clock.events",
        f"{tp.topic}/{tp.partition}",
        f"a record is stamped {seconds:,.0f} s later than this clock",
        "synchronise the publisher's clock and this one (NTP); sweeps wait for a partition's oldest unread "
        "record, and events more than a day ahead of their record are refused",
    )
