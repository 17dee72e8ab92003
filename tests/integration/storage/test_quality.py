"""The success figures of a story whose every value was worked out by hand, through Kafka and Postgres."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from lyo.models.quality import Figure
from lyo.ops.monitor.quality import FIGURES, Looking, Quality, Success, read
from lyo.storage.database import plain_url
from lyo.storage.schema.migrate import upgrade
from lyo.storage.sink.rows import tenant_of
from lyo.streams import topic_admin
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from tests.support.learners.quality_story import NOW, story
from tests.support.monitor.scraping import Scraped
from tests.support.sink.running import all_stored, publish, running

pytestmark = pytest.mark.integration

EXPECTED = {
    # Right for 2, 3 and 5 of 1 (0.8, no), 2 (0.8, yes), 3 (0.7, yes), 4 (0.9, no), 5 (0.2, no),
    # 7 (0.75, no) and of 1 when asked again (0.4, no); 6 has no outcome.
    ("struggle_accuracy",): (4 / 7, 7),
    # 4 took 1.4 times as long as usual (a tenth of a struggle), 7 three times (a quarter, the most).
    ("struggle_brier",): ((0.64 + 0.04 + 0.09 + 0.64 + 0.04 + 0.25 + 0.16) / 7, 7),
    # Offered to 1, 2, 3, 4, 6, 7; 3 declined and 4 did not answer.
    ("help_acceptance_rate",): (4 / 6, 6),
    # Called for (0.6 and more), outcome known: with help 1 no, 2 yes, 7 no; without 3 yes, 4 no.
    ("learning_rate", "with"): (1.75 / 3, 3),
    ("learning_rate", "without"): (0.9 / 2, 2),
    ("learning_improvement",): (1.75 / 3 - 0.9 / 2, 5),
    # Learners 1, 2 and 11 to 18 have rows; current and with a confidence are 1 and 2 (3 has no row).
    ("dropout_coverage",): (2 / 10, 10),
    # Found high: 1, 2, 3, 4; a strategy afterwards: 1 and 3 (2's was before, 4 had none).
    ("early_intervention_rate",): (2 / 4, 4),
    # At least 14 and at most 42 days old: 1 (back after 10 days), 2 (not), 3 (back after 25).
    ("reengagement_rate",): (1 / 3, 3),
    ("intervention_effectiveness", "dropout", "yes"): (1 / 3, 3),
    ("intervention_effectiveness", "plateau", "yes"): (1 / 2, 2),
    ("intervention_effectiveness", "plateau", "no"): (0.0, 2),
    # r0 reminded and reviewed, r1 reminded, r2 reviewed without; r3 is three days old.
    ("intervention_effectiveness", "regression", "yes"): (1 / 2, 2),
    ("intervention_effectiveness", "regression", "no"): (1.0, 1),
    # Before 28 days and not since: 12 and 17 of 11, 12, 16, 17. The period before: 13, 14, 15 of 11 to 15.
    ("churn_rate", "current"): (2 / 4, 4),
    ("churn_rate", "previous"): (3 / 5, 5),
    ("churn_reduction",): (1 - (1 / 2) / (3 / 5), 4),
    # Learner 1: 0.9 - (0.5 + 0.7) / 2; learner 2: 0.4 - 0.5; learner 3 has no other hours.
    ("timing_impact",): ((0.3 - 0.1) / 2, 2),
    # Peak: 3 + 1 lessons in 1 + 0.5 hours; others: 2 + 1 in 2 + 1.5.
    ("completion_lift",): ((4 / 1.5) / (3 / 3.5) - 1, 2),
    # Peak: 1 at 19:06 answered, 1 at 19:00 not, 2 at 07:12 in Berlin after 23 hours.
    ("response_rate", "peak"): (2 / 3, 3),
    # Others: 1 at 10:00 answered, 1 at 07:00 not, 2 at noon only after 25 hours.
    ("response_rate", "other"): (1 / 3, 3),
    # 1 at 07:00 (session at 08:00), 2 at 05:12 (05:20); noon to 19:00 is too long, 19:06 was in a session.
    ("session_conversion",): (2 / 6, 6),
}
CONFIDENCE = {
    "dropout-risk": {"none": 1, "low": 1, "middle": 2, "high": 1},
    "timing": {"none": 1, "low": 0, "middle": 0, "high": 2},
    "plateaus": {"none": 0, "low": 0, "middle": 1, "high": 0},
    "regressions": {"none": 0, "low": 0, "middle": 2, "high": 0},
    "struggle": {"none": 0, "low": 0, "middle": 7, "high": 0},
}


@pytest.fixture
async def told(settings: Settings) -> Settings:
    """The story in Postgres, through the topics and the sink."""
    upgrade(settings.database_url)
    await clients.reach(settings, lambda: topic_admin.ensure(settings))
    await publish(settings, story(settings))
    async with running(settings, tenants=tenant_of) as (_, task):
        await all_stored(settings, task)
    return settings


async def looked(settings: Settings, most: int = 20_000) -> Quality:
    connection = await asyncpg.connect(plain_url(settings.database_url))
    try:
        return await read(connection, NOW, most)
    finally:
        await connection.close()


def by_name(figures: list[Figure]) -> dict[tuple[str, ...], tuple[float | None, int]]:
    return {(figure.name, *figure.labels): (figure.value, figure.size) for figure in figures}


async def test_every_figure_is_what_was_worked_out_by_hand(told: Settings) -> None:
    quality = await looked(told)
    found = by_name(quality.figures)
    bands = {
        ("confidence", kind, band): (value, sum(of.values()))
        for kind, of in CONFIDENCE.items()
        for band, value in of.items()
    }
    expected: dict[Any, Any] = {**EXPECTED, **bands}
    assert found.keys() == expected.keys()
    for key, (value, size) in expected.items():
        assert found[key][0] == pytest.approx(value), key
        assert found[key][1] == size, key
    assert quality.tenants == (2, [8], [8])
    _is_shown(quality)


def _is_shown(quality: Quality) -> None:
    registry = CollectorRegistry()
    registry.register(Success(lambda: quality))
    shown = Scraped(generate_latest(registry).decode())
    for (name, *labels), (value, _) in EXPECTED.items():
        given = dict(zip(FIGURES[name][1], labels, strict=True))
        assert shown.sum(f"lyo_quality_{name}", **given) == pytest.approx(value)
    assert shown.sum("lyo_quality_confidence", kind="timing", band="none") == 1
    assert shown.sum("lyo_quality_tenants", state="without_mastery") == 1
    assert shown.sum("lyo_quality_samples", figure="struggle_accuracy") == 7
    assert {name.removeprefix("lyo_quality_") for name in shown.families} >= FIGURES.keys()


async def test_nothing_gives_no_figure_and_an_old_one_is_kept_while_postgres_is_away(
    settings: Settings,
) -> None:
    upgrade(settings.database_url)
    quality = await looked(settings)
    assert {figure.value for figure in quality.figures} == {None}
    assert all(figure.size == 0 for figure in quality.figures)
    looking = Looking(settings.database_url, lambda: NOW)
    await looking.look()
    assert looking.newest is not None
    first = looking.newest
    looking._url = "postgresql://postgres@127.0.0.1:1/nowhere"
    await looking.look()
    assert looking.newest is first
