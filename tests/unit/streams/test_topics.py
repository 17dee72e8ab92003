from __future__ import annotations

import pytest

from lyo.models.events.decode import Kind
from lyo.streams import topics
from lyo.streams.settings import Settings

SETTINGS = Settings(partitions=6, replication=3, dead_letter_days=2)
SPECS = {spec.name: spec for spec in topics.specs(SETTINGS)}


def test_the_names_are_those_of_the_contract() -> None:
    assert {kind.value: topics.topic(kind) for kind in Kind} == {
        "lesson_completion": "lyo.lesson-completions",
        "session": "lyo.sessions",
        "sentiment": "lyo.sentiment",
        "outcome": "lyo.outcomes",
        "preferences": "lyo.preferences",
        "struggle_request": "lyo.struggle-requests",
        "erasure": "lyo.erasures",
        "content": "lyo.content",
        "organization": "lyo.organizations",
    }
    assert topics.PREDICTIONS == {
        "dropout-risk": "lyo.predictions.dropout-risk",
        "timing": "lyo.predictions.timing",
        "plateaus": "lyo.predictions.plateaus",
        "regressions": "lyo.predictions.regressions",
        "struggle": "lyo.predictions.struggle",
    }
    assert (topics.LEARNER_ROWS, topics.SKILL_ROWS) == ("lyo.learner-rows", "lyo.skill-rows")
    assert (topics.DEAD_LETTERS, topics.INTERVENTIONS) == ("lyo.dead-letters", "lyo.interventions")


def test_every_topic_is_created_with_a_number_of_partitions_and_replicas() -> None:
    assert len(SPECS) == 18
    single = {topics.CONTENT, topics.ORGANIZATIONS}
    for name, spec in SPECS.items():
        assert spec.partitions == (1 if name in single else 6), name
        assert spec.replication == 3


def test_inputs_are_kept_for_ever_and_what_is_keyed_is_compacted() -> None:
    for name in topics.names(SETTINGS).inputs:
        assert SPECS[name].config == {
            "cleanup.policy": "delete",
            "retention.ms": "-1",
            "retention.bytes": "-1",
        }
    compacted = {name for name, spec in SPECS.items() if spec.config["cleanup.policy"] == "compact"}
    assert compacted == {
        *topics.PREDICTIONS.values(),
        topics.LEARNER_ROWS,
        topics.SKILL_ROWS,
        topics.CONTENT,
        topics.ORGANIZATIONS,
        topics.ERASURES,
        topics.INTERVENTIONS,
    }
    for name in (topics.LEARNER_ROWS, topics.SKILL_ROWS, *topics.PREDICTIONS.values()):
        assert {"segment.bytes", "max.compaction.lag.ms", "min.cleanable.dirty.ratio"} <= set(
            SPECS[name].config
        )
    assert SPECS[topics.DEAD_LETTERS].config["retention.ms"] == str(2 * 86_400_000)


def test_an_erasure_that_an_old_record_replaced_waits_for_a_worker_that_overrules_it() -> None:
    config = SPECS[topics.ERASURES].config
    assert config["cleanup.policy"] == "compact"
    assert config["min.compaction.lag.ms"] == str(7 * 86_400_000)


def test_a_prefix_renames_every_topic() -> None:
    renamed = Settings(topic_prefix="test.")
    assert all(spec.name.startswith("test.") for spec in topics.specs(renamed))
    assert topics.names(renamed).inputs["test.sessions"] is Kind.SESSION


@pytest.mark.parametrize("name", [topics.LEARNER_ROWS, topics.topic(Kind.SESSION), topics.CONTENT])
def test_another_number_of_partitions_is_refused_with_both(name: str) -> None:
    found = {spec.name: spec.partitions for spec in SPECS.values()}
    topics.check(SETTINGS, found)
    wanted = found[name]
    with pytest.raises(topics.TopicError, match=f"{name} has 7 partitions where the settings say {wanted}"):
        topics.check(SETTINGS, found | {name: 7})
