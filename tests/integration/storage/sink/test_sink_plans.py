"""How Postgres goes about the sink's statements: by index, also where the plan was made for small tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lyo.storage.schema.migrate import upgrade
from lyo.storage.session import Session
from lyo.storage.sink import outcomes, struggle_outcomes

pytestmark = pytest.mark.integration

# Small enough that a scan of all looks cheaper than the index.
_SOME_FACTS = """
INSERT INTO outcome_facts (user_id, kind, subject, organization_id, newest, event, times)
SELECT n, 'reviewed', 'c', 0, now(), n, ARRAY[now()] FROM generate_series(1, 100) AS n
"""
_SOME_OUTCOMES = """
INSERT INTO content_outcomes (user_id, content_id, organization_id, kind, occurred_at, event)
SELECT n, 'c', 0, 'struggled', now(), n FROM generate_series(1, 100) AS n
"""


Derived = tuple[str, list[list[Any]], str, str]
"""A statement, its arguments, the table of what it reads, and a column of the index that it must use."""


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


async def test_outcomes_are_derived_by_index_although_planned_while_the_tables_were_small(
    database_url: str,
) -> None:
    upgrade(database_url)
    session = Session(database_url)
    try:
        connection = await session.connection()
        await connection.execute(_SOME_FACTS)
        await connection.execute(_SOME_OUTCOMES)
        await connection.execute("ANALYZE outcome_facts, content_outcomes")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        of_facts: Iterator[Derived] = (
            (statement, [[1]], "outcome_facts", "subject") for statement in outcomes.DERIVE_SQL
        )
        of_contents: Derived = (struggle_outcomes.DERIVE_SQL, [[1], ["c"]], "content_outcomes", "content_id")
        for statement, arguments, table, column in (*of_facts, of_contents):
            found = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *arguments)
            scans = [node for node in _nodes(json.loads(found)[0]["Plan"]) if "Relation Name" in node]
            assert {node["Node Type"] for node in scans}.isdisjoint({"Seq Scan"}), found
            [facts] = [node for node in scans if node["Relation Name"] == table]
            assert "user_id" in facts["Index Cond"], found
            assert column in facts["Index Cond"], found
    finally:
        await session.close()
