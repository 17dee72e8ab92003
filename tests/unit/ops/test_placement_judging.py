"""What `lyo doctor` says about where records lie, what they lack, and the time zone data."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from lyo.models.arrays import tzif
from lyo.models.renewal import MODELS_KEY, TZDATA
from lyo.ops.doctor.cluster import Cluster, Topic
from lyo.ops.doctor.findings import Finding, Status
from lyo.ops.doctor.placement_checks import Placement, judge, judge_postgres
from lyo.streams.settings import Settings

SETTINGS = Settings(partitions=4)


def cluster(kind: str | None) -> Cluster:
    config = None if kind is None else {"message.timestamp.type": kind}
    topic = Topic("lyo.sessions", 4, 1, 1, 0, 0, config)
    return Cluster(topics={topic.name: topic})


def found(placement: Placement, kind: str | None = "CreateTime") -> dict[str, Finding]:
    return {one.check: one for one in judge(SETTINGS, cluster(kind), placement)}


def test_all_is_well_where_nothing_was_refused() -> None:
    assert {one.status for one in found(Placement()).values()} == {Status.OK}
    assert judge_postgres(0).status is Status.OK


def test_refused_records_are_counted_by_topic_with_the_clients_setting() -> None:
    refused = Counter({("partition", "lyo.sessions"): 2, (None, "lyo.sessions"): 3})
    one = found(Placement(refused=refused))["placement.events"]
    assert (one.status, one.about) == (Status.WARNING, "lyo.sessions")
    assert one.found.startswith("2 records were refused")
    assert "partitioner=murmur2_random" in one.to_do


@pytest.mark.parametrize(("kind", "named"), [("CreateTime", True), ("LogAppendTime", False), (None, False)])
def test_topics_that_allow_records_without_a_timestamp_are_named(kind: str | None, named: bool) -> None:
    one = found(Placement(), kind).get("placement.timestamps")
    assert (one is not None and one.about == "lyo.sessions") == named


def test_records_without_a_timestamp_are_counted_and_the_broker_can_set_it() -> None:
    one = found(Placement(refused=Counter({("timestamp", "lyo.sessions"): 1})))["placement.timestamps"]
    assert one.status is Status.WARNING
    assert one.found.startswith("1 record was refused")
    assert one.to_do.endswith("--entity-name lyo.sessions --add-config message.timestamp.type=LogAppendTime")


def test_learners_with_rows_elsewhere_are_counted_once() -> None:
    keys = {TopicPartition("lyo.learner-rows", 1): {b"7": 7, b"8": 8}, TopicPartition("x", 2): {b"7": 7}}
    one = found(Placement(keys=keys))["placement.rows"]
    assert (one.status, one.found[:10]) == (Status.ERROR, "2 learners")
    assert "lyo misplaced --move" in one.to_do
    assert judge_postgres(3).status is Status.ERROR


def test_what_was_not_read_whole_is_unknown() -> None:
    one = found(Placement(unread=["lyo.learner-rows"]))["placement.rows"]
    assert one.status is Status.UNKNOWN


def record(partition: int, value: bytes) -> Any:
    return SimpleNamespace(key=MODELS_KEY, partition=partition, value=value)


def test_the_release_of_the_time_zone_data_is_shown_and_others_are_named() -> None:
    placement = Placement()
    placement.note_models([record(0, msgspec.json.encode({TZDATA: tzif.VERSION})), record(1, b"{")])
    one = found(placement)["zones.release"]
    assert (one.status, one.about) == (Status.OK, f"tzdata {tzif.VERSION}")
    placement.note_models([record(2, msgspec.json.encode({TZDATA: "1999a"})), record(3, b"{}")])
    others = [one for one in judge(SETTINGS, cluster(None), placement) if one.check == "zones.release"]
    assert [one.status for one in others] == [Status.WARNING] * 2
    assert "partitions 2 are made with 1999a" in others[0].found
    assert "partitions 3 are made with several" in others[1].found
