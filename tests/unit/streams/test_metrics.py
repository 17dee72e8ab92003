"""Metrics: names, what is shown of partitions, and what is noticed about events."""

from __future__ import annotations

import re
from collections import Counter

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from lyo.models.events.anomalies import notice
from lyo.streams import metrics
from lyo.streams.metrics import Live, MetricsError, Reading, Sample
from lyo.streams.settings import Settings
from lyo.tools.stack.processes import free_port
from tests.support.learners.building import columns, completion, iso, session
from tests.support.monitor.scraping import Scraped, scrape

AT = 1_760_000_000_000
FORBIDDEN = {"user", "user_id", "learner", "content", "content_id", "skill", "skill_id", "organization"}


def test_what_is_gone_is_not_shown_any_more() -> None:
    held = {"1": 3.0, "2": 5.0}
    registry = CollectorRegistry()
    metric = Live("lyo_held", "Held.", ("partition",))
    registry.register(Reading([metric], lambda: [Sample("lyo_held", v, (k,)) for k, v in held.items()]))
    assert Scraped(generate_latest(registry).decode()).of("lyo_held", "partition") == {"1", "2"}
    del held["1"]
    assert Scraped(generate_latest(registry).decode()).of("lyo_held", "partition") == {"2"}


def test_names_follow_prometheus_and_no_label_holds_a_learner() -> None:
    for process in metrics.PROCESSES:
        families = [*process.registry.collect(), *(live.family() for live in process.live)]
        for family in families:
            if family.name.startswith("lyo_"):
                assert re.fullmatch(r"lyo_[a-z_]+", family.name)
                assert family.documentation.endswith(".")
            for sample in family.samples:
                assert not FORBIDDEN & sample.labels.keys()
        for live in process.live:
            assert not FORBIDDEN & set(live.labels)


def test_a_failure_is_shown_as_none_before_the_first_one() -> None:
    shown = Scraped(generate_latest(metrics.WORKER).decode())
    assert shown.of("lyo_partition_failures_total", "why") == {"fenced", "retried", "failed"}


async def test_a_port_shows_the_process_and_is_closed_afterwards() -> None:
    settings = Settings(metrics_port=free_port())

    def read() -> list[Sample]:
        return [Sample("lyo_sink_records", 12), Sample("lyo_sink_partitions", 2, ("a",))]

    for _ in range(2):  # a second time: nothing was left registered
        with metrics.exporting(settings, "sink", read):
            found = await scrape(settings.metrics_port)
            assert found.sum("lyo_sink_records_total") == 12
            assert found.sum("lyo_sink_partitions", topic="a") == 2
            assert found.sum("process_start_time_seconds") > 0
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.metrics_port}") as client:
                head, options = await client.head("/metrics"), await client.options("/metrics")
            assert (head.status_code, head.content) == (200, b"")
            assert int(head.headers["content-length"]) > 1_000
            assert options.status_code == 200, "other methods are as they were"


def test_a_port_that_is_taken_is_named() -> None:
    settings = Settings(metrics_port=free_port())
    with (
        metrics.exporting(settings, "sink", list),
        pytest.raises(
            MetricsError, match=r"127\.0\.0\.1:\d+ \(LYO_METRICS_HOST, LYO_METRICS_PORT\): Address"
        ),
        metrics.exporting(settings, "api", list),
    ):
        pass


def test_port_0_shows_nothing() -> None:
    def read() -> list[Sample]:
        raise AssertionError

    with metrics.exporting(Settings(), "worker", read):
        pass


def test_what_events_lack_and_when_their_clocks_are_wrong() -> None:
    events = [
        completion(1, AT, "algebra", "roots", score=0.5),
        completion(1, AT + 5_000, score=0.5),
        completion(1, AT + 5_001, "algebra", score=None),
        completion(2, AT - 86_400_001, score=None),
    ]
    (batch,) = columns(events)
    assert notice(batch, np.full(4, AT)) == {
        "without.skills": 2,
        "without.score": 2,
        "ahead.lesson_completion": 1,
        "behind.lesson_completion": 1,
    }
    (sessions,) = columns([session(1, AT + 3_600_000, 5)])
    assert notice(sessions, np.array([AT])) == {"ahead.session": 1}
    assert notice(sessions, np.array([-1])) == Counter()
    assert iso(AT).startswith("2025")
