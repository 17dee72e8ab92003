"""Judges each topic: existence, partitions, co-partitioning, replicas, settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from lyo.ops.doctor.cluster import Cluster, Topic
from lyo.ops.doctor.findings import Finding, Fix, error, ok, unknown, warning
from lyo.streams import topics
from lyo.streams.settings import Settings
from lyo.streams.topics import TopicSpec

CHECKS: Final = (
    "topics.there",
    "topics.partitions",
    "topics.co-partitioned",
    "topics.replication",
    "topics.settings",
)
FOREVER: Final = -1
_MUST: Final = frozenset({"cleanup.policy", "retention.ms", "retention.bytes"})


def judge(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    """Compare every topic with what `lyo topics` would create."""
    specs = topics.specs(settings)
    there = {spec.name: cluster.topics[spec.name] for spec in specs if spec.name in cluster.topics}
    yield from _there(settings, cluster, specs)
    if not there:
        return
    yield from _partitions(specs, there)
    yield _copartitioned(settings, there)
    yield from _replication(specs, there)
    yield from _configured(settings, specs, there)


# ---------------------------------------------------------------- there


def _there(settings: Settings, cluster: Cluster, specs: list[TopicSpec]) -> Iterator[Finding]:
    missing = [spec for spec in specs if spec.name not in cluster.topics]
    names, counted = topics.names(settings), _counted(settings, cluster)
    for spec in missing:
        if spec.name in cluster.hidden:
            yield unknown(
                "topics.there",
                spec.name,
                "it may not be described, so nobody knows whether it exists",
                "allow DESCRIBE on it (docs/security.md); until then delete, create and rebuild nothing",
            )
        elif counted and spec.name in {names.learner_rows, names.skill_rows}:
            yield error(
                "topics.there",
                spec.name,
                f"it is missing, and {counted:,} records were already counted into it",
                "do not create it empty: workers would continue without their state; stop them and rebuild "
                "under a new LYO_APP_ID, from the log",
            )
        else:
            yield error(
                "topics.there",
                spec.name,
                "it is missing",
                "lyo topics creates it",
                Fix.CREATE_TOPIC,
            )
    if not missing:
        yield ok("topics.there", f"{len(specs)} topics", "all there")


def _counted(settings: Settings, cluster: Cluster) -> int:
    """How many input records the workers' group has processed; 0 if unknown."""
    if isinstance(cluster.committed, str):
        return 0
    inputs = topics.names(settings).inputs
    return sum(offset for tp, offset in cluster.committed.items() if tp.topic in inputs)


# ---------------------------------------------------------------- partitions


def _partitions(specs: list[TopicSpec], there: Mapping[str, Topic]) -> Iterator[Finding]:
    wrong = 0
    for spec in specs:
        topic = there.get(spec.name)
        if topic is None or topic.partitions == spec.partitions:
            continue
        wrong += 1
        yield error(
            "topics.partitions",
            spec.name,
            f"{topic.partitions} partitions where the settings say {spec.partitions}",
            "set LYO_PARTITIONS to what the topics have, or make a new set of topics under another "
            "LYO_TOPIC_PREFIX and rebuild: the number is fixed when a topic is created",
        )
    if not wrong:
        yield ok("topics.partitions", f"{len(there)} topics", "as the settings say")


def _copartitioned(settings: Settings, there: Mapping[str, Topic]) -> Finding:
    """All topics must have the same number of partitions, so that a learner has one partition number."""
    together = {spec.name for spec in topics.specs(settings)} - set(topics.names(settings).catalogue)
    by_count: dict[int, list[str]] = defaultdict(list)
    for name in sorted(together & set(there)):
        by_count[there[name].partitions].append(name)
    if len(by_count) <= 1:
        count = next(iter(by_count), 0)
        return ok("topics.co-partitioned", f"{len(together & set(there))} topics", f"{count} partitions each")
    parts = [f"{count}: {_some(names)}" for count, names in sorted(by_count.items())]
    return error(
        "topics.co-partitioned",
        f"{sum(map(len, by_count.values()))} topics",
        f"different numbers of partitions, so a learner's events do not meet ({'; '.join(parts)})",
        "make a new set of topics under another LYO_TOPIC_PREFIX; no worker starts on these",
    )


def _some(names: list[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


# ---------------------------------------------------------------- replicas


def _replication(specs: list[TopicSpec], there: Mapping[str, Topic]) -> Iterator[Finding]:
    before = True
    for spec in specs:
        if (topic := there.get(spec.name)) is not None:
            found = list(_replicated(spec, topic))
            before = before and not found
            yield from found
    if before:
        yield ok(
            "topics.replication", f"{len(there)} topics", "every partition has a leader and its replicas"
        )


def _replicated(spec: TopicSpec, topic: Topic) -> Iterator[Finding]:
    check, name = "topics.replication", spec.name
    least = int((topic.config or {}).get("min.insync.replicas", 1))
    if topic.leaderless:
        found = (
            f"{topic.leaderless} of {topic.partitions} partitions have no leader: nobody reads or writes them"
        )
        yield error(check, name, found, "bring the brokers that hold them back")
    elif least > topic.in_sync:
        found = f"min.insync.replicas={least}, and a partition has {topic.in_sync} in sync: nobody writes it"
        yield error(
            check, name, found, f"bring brokers back, or lower min.insync.replicas to {topic.in_sync}"
        )
    elif topic.in_sync < topic.replicas:
        found = f"a partition has {topic.in_sync} of {topic.replicas} replicas in sync"
        yield warning(check, name, found, "see which broker is away or slow (kafka-topics.sh "
                      "--describe --under-replicated-partitions)")  # fmt: skip
    elif topic.replicas < spec.replication:
        found = f"{topic.replicas} replicas where LYO_REPLICATION says {spec.replication}"
        yield warning(check, name, found, "add replicas with kafka-reassign-partitions.sh")
    elif topic.replicas > 1 and least == 1:
        found = (
            f"{topic.replicas} replicas, but one is enough to acknowledge a record: it can be lost with it"
        )
        yield warning(check, name, found, _alter(name, "min.insync.replicas", str(topic.replicas // 2 + 1)))


# ---------------------------------------------------------------- settings


def _configured(settings: Settings, specs: list[TopicSpec], there: Mapping[str, Topic]) -> Iterator[Finding]:
    before = True
    for spec in specs:
        if (topic := there.get(spec.name)) is None:
            continue
        if topic.config is None:
            before = False
            to_do = "allow DESCRIBE_CONFIGS on the topic"
            yield unknown("topics.settings", spec.name, "its settings may not be read", to_do)
            continue
        found = [*_differing(spec, topic.config), *_too_small(settings, spec, topic.config)]
        before = before and not found
        yield from found
    if before:
        yield ok("topics.settings", f"{len(there)} topics", "clean-up, retention and sizes as specified")


def _differing(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[Finding]:
    for key, wanted in spec.config.items():
        value = config.get(key, "")
        if value == wanted or _keeps_more(key, value, wanted):
            continue
        found, to_do = f"{key}={value} where {wanted} is specified", _alter(spec.name, key, wanted)
        if key in _MUST:
            yield error("topics.settings", spec.name, f"{found}: {_loss(key, wanted)}", to_do)
        else:
            yield warning("topics.settings", spec.name, found, to_do)


def _keeps_more(key: str, value: str, wanted: str) -> bool:
    """Whether records are kept for longer than specified, which loses nothing."""
    if key not in {"retention.ms", "retention.bytes", "delete.retention.ms"}:
        return False
    return int(value) == FOREVER or (int(wanted) != FOREVER and int(value) >= int(wanted))


def _loss(key: str, wanted: str) -> str:
    if key != "cleanup.policy":
        return "Kafka deletes records that a rebuild needs"
    if wanted == "compact":
        return "current values are deleted with old segments"
    return "events with the same key are thrown away"


def _too_small(settings: Settings, spec: TopicSpec, config: Mapping[str, str]) -> Iterator[Finding]:
    largest = int(config.get("max.message.bytes", settings.output_batch_bytes))
    if largest < settings.output_batch_bytes:
        found = (
            f"max.message.bytes={largest} is less than LYO_OUTPUT_BATCH_BYTES={settings.output_batch_bytes}"
        )
        to_do = _alter(spec.name, "max.message.bytes", str(max(1_048_588, settings.output_batch_bytes)))
        yield error("topics.settings", spec.name, f"{found}: Kafka refuses what is sent", to_do)


def _alter(topic: str, key: str, value: str) -> str:
    return f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {key}={value}"
