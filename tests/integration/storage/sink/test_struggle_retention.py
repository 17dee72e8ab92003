"""How long struggle predictions and what came of them are kept."""

from __future__ import annotations

import asyncpg
import pytest

from lyo.storage.database import plain_url
from lyo.storage.outbox.retention import forget_struggles
from lyo.storage.schema.migrate import upgrade
from lyo.storage.sink.offsets import Place, claim
from tests.support.sink.records import NAMES
from tests.support.sink.running import fetch

pytestmark = pytest.mark.integration

ASKED = """
INSERT INTO struggle_predictions (user_id, content_id, request_id, content_type, struggle_probability,
    confidence, prediction_id, as_of, model, requested_at, predicted_at, log_partition, log_offset)
SELECT 1, content, days::text, '', 0.5, 1, '', now(), '', now() - make_interval(days => days),
    now() - make_interval(days => days), 1, 500 - days
FROM unnest(ARRAY['a', 'a', 'a', 'b', 'c', 'c'], ARRAY[400, 380, 10, 400, 300, 1]) AS n(content, days)
"""
TOLD = """
INSERT INTO content_outcomes (user_id, content_id, organization_id, kind, occurred_at, event)
SELECT 1, content, 0, 'struggled', now() - make_interval(days => days), days
FROM unnest(ARRAY['a', 'a', 'b', 'd', 'd'], ARRAY[399, 9, 399, 399, 3]) AS n(content, days)
"""


async def test_struggle_predictions_are_kept_as_long_as_stated_and_the_newest_of_a_content_always(
    database_url: str,
) -> None:
    upgrade(database_url)
    connection = await asyncpg.connect(plain_url(database_url))
    topic = NAMES.prediction("struggle")
    async with connection.transaction():
        await claim(connection, {Place(topic, 1): 700})
    await connection.execute(ASKED)
    await connection.execute(TOLD)
    assert await forget_struggles(connection, days=365, topic=topic, piece=1) == 2
    kept = "SELECT content_id, request_id FROM struggle_predictions ORDER BY id"
    assert await fetch(database_url, kept) == [("a", "10"), ("b", "400"), ("c", "300"), ("c", "1")]
    outcomes = "SELECT content_id, event FROM content_outcomes ORDER BY 1, 2"
    assert await fetch(database_url, outcomes) == [("a", 9), ("b", 399), ("d", 3)]
    removed = "SELECT topic, key ->> 'request_id', log_partition, log_offset FROM removed_rows ORDER BY id"
    assert await fetch(database_url, removed) == [(topic, "400", 1, 700), (topic, "380", 1, 700)]
    await connection.close()
