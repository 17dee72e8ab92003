"""The schema against real Postgres: up, down, up again, and equal to the specification and to the code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from lyo.storage.database import engine, plain_url
from lyo.storage.schema.migrate import downgrade, upgrade
from lyo.storage.schema.tables import PREDICTION_TABLES, STREAM_TABLES, metadata

pytestmark = pytest.mark.integration

T = TypeVar("T")

# Written out from the specification's "Database Schema"; SERIAL and INTEGER of ids are 64-bit here.
FLOAT, INT, BIG, TEXT, BOOL, JSONB = "float8", "int4", "int8", "text", "bool", "jsonb"
TIMESTAMP = "timestamptz"
SPECIFIED: dict[str, list[tuple[str, str, bool, str | None]]] = {
    "struggle_predictions": [
        ("id", BIG, True, None),
        ("user_id", BIG, True, None),
        ("organization_id", BIG, False, None),
        ("content_id", "varchar(100)", True, None),
        ("content_type", "varchar(50)", True, None),
        ("struggle_probability", FLOAT, True, None),
        ("confidence", FLOAT, True, None),
        ("prereq_mastery", FLOAT, False, None),
        ("similar_performance", FLOAT, False, None),
        ("content_difficulty", FLOAT, False, None),
        ("days_since_review", INT, False, None),
        ("cognitive_load", FLOAT, False, None),
        ("sentiment_trend", FLOAT, False, None),
        ("prediction_features", JSONB, False, None),
        ("actual_struggled", BOOL, False, None),
        ("actual_outcome_at", TIMESTAMP, False, None),
        ("intervention_offered", BOOL, False, "false"),
        ("intervention_accepted", BOOL, False, None),
        ("predicted_at", TIMESTAMP, False, "now()"),
    ],
    "dropout_risk_scores": [
        ("id", BIG, True, None),
        ("user_id", BIG, True, None),
        ("organization_id", BIG, False, None),
        ("risk_score", FLOAT, True, None),
        ("risk_level", "varchar(20)", True, None),
        ("risk_factors", "varchar[]", False, None),
        ("session_frequency_trend", FLOAT, False, None),
        ("avg_days_between_sessions", FLOAT, False, None),
        ("sentiment_trend_7d", FLOAT, False, None),
        ("days_since_last_completion", INT, False, None),
        ("performance_trend", FLOAT, False, None),
        ("longest_streak", INT, False, None),
        ("current_streak", INT, False, None),
        ("reengagement_strategy", JSONB, False, None),
        ("strategy_executed", BOOL, False, "false"),
        ("strategy_executed_at", TIMESTAMP, False, None),
        ("user_returned", BOOL, False, None),
        ("returned_at", TIMESTAMP, False, None),
        ("calculated_at", TIMESTAMP, False, "now()"),
        ("updated_at", TIMESTAMP, False, "now()"),
    ],
    "user_timing_profiles": [
        ("id", BIG, True, None),
        ("user_id", BIG, True, None),
        ("organization_id", BIG, False, None),
        ("peak_hours", "int4[]", False, None),
        ("optimal_study_time", "time", False, None),
        ("best_days", "varchar[]", False, None),
        ("avg_session_duration_minutes", FLOAT, False, None),
        ("preferred_session_length", INT, False, None),
        ("performance_by_hour", JSONB, False, None),
        ("most_active_hour", INT, False, None),
        ("least_active_hour", INT, False, None),
        ("typical_study_days", "int4[]", False, None),
        ("sessions_analyzed", INT, False, "0"),
        ("confidence", FLOAT, False, "0.0"),
        ("created_at", TIMESTAMP, False, "now()"),
        ("updated_at", TIMESTAMP, False, "now()"),
    ],
    "learning_plateaus": [
        ("id", BIG, True, None),
        ("user_id", BIG, True, None),
        ("organization_id", BIG, False, None),
        ("topic", "varchar(200)", True, None),
        ("skill_id", "varchar(100)", True, None),
        ("days_on_topic", INT, True, None),
        ("attempts", INT, True, None),
        ("mastery_level", FLOAT, True, None),
        ("mastery_improvement", FLOAT, True, None),
        ("is_active", BOOL, False, "true"),
        ("resolved", BOOL, False, "false"),
        ("resolved_at", TIMESTAMP, False, None),
        ("intervention_suggested", TEXT, False, None),
        ("intervention_taken", BOOL, False, "false"),
        # NOT NULL here: it is part of the key of an episode.
        ("detected_at", TIMESTAMP, True, "now()"),
        ("updated_at", TIMESTAMP, False, "now()"),
    ],
    "skill_regressions": [
        ("id", BIG, True, None),
        ("user_id", BIG, True, None),
        ("organization_id", BIG, False, None),
        ("skill_id", "varchar(100)", True, None),
        ("skill_name", "varchar(200)", True, None),
        ("peak_mastery", FLOAT, True, None),
        ("current_mastery", FLOAT, True, None),
        ("regression_amount", FLOAT, True, None),
        ("days_since_practice", INT, True, None),
        ("last_practiced_at", TIMESTAMP, True, None),
        ("predicted_mastery_in_week", FLOAT, False, None),
        ("urgency", "varchar(20)", True, None),
        ("reminder_sent", BOOL, False, "false"),
        ("reminder_sent_at", TIMESTAMP, False, None),
        ("user_reviewed", BOOL, False, "false"),
        ("reviewed_at", TIMESTAMP, False, None),
        # NOT NULL here: it is part of the key of an episode.
        ("detected_at", TIMESTAMP, True, "now()"),
    ],
}
# What subscribers read by, beside the specification's.
LOG = "(log_partition, log_offset, id)"
INDEXES = {
    "struggle_predictions": {
        "PRIMARY KEY (id)",
        "UNIQUE (user_id, content_id, request_id)",
        "(actual_outcome_at) WHERE (actual_outcome_at IS NOT NULL)",
        "(user_id, requested_at) WHERE (log_partition IS NULL)",
        "(content_id)",
        "(predicted_at)",
        "(user_id, predicted_at DESC)",
        LOG,
    },
    "dropout_risk_scores": {"PRIMARY KEY (id)", "UNIQUE (user_id)", "(risk_level, calculated_at DESC)", LOG},
    "user_timing_profiles": {"PRIMARY KEY (id)", "UNIQUE (user_id)", LOG},
    "learning_plateaus": {
        "PRIMARY KEY (id)",
        "UNIQUE (user_id, skill_id, detected_at)",
        "(user_id, is_active, resolved)",
        LOG,
    },
    "skill_regressions": {
        "PRIMARY KEY (id)",
        "UNIQUE (user_id, skill_id, detected_at)",
        "(user_id, urgency, reminder_sent)",
        LOG,
    },
}

COLUMNS_SQL = """
SELECT a.attname,
       replace(replace(replace(format_type(a.atttypid, a.atttypmod), 'character varying', 'varchar'),
                       'timestamp with time zone', 'timestamptz'), 'time without time zone', 'time') AS type,
       a.attnotnull, pg_get_expr(d.adbin, d.adrelid) AS preset
FROM pg_attribute a LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
INDEXES_SQL = """
SELECT CASE WHEN i.indisprimary THEN 'PRIMARY KEY ' WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END
       || substring(pg_get_indexdef(i.indexrelid) from '\\(.*$') AS index
FROM pg_index i WHERE i.indrelid = $1::text::regclass
"""
LONG = {"double precision": FLOAT, "integer": INT, "bigint": BIG, "boolean": BOOL, "integer[]": "int4[]"}


def ask(url: str, question: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        connection = await asyncpg.connect(plain_url(url))
        try:
            return await question(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def fetch(url: str, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    async def question(connection: asyncpg.Connection) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await connection.fetch(sql, *arguments)]

    return ask(url, question)


def tables(url: str) -> set[str]:
    found = fetch(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {name for (name,) in found}


def differences(url: str) -> list[Any]:
    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, metadata))

    async def run() -> list[Any]:
        made = engine(url)
        try:
            async with made.connect() as connection:
                return await connection.run_sync(compare)
        finally:
            await made.dispose()

    return asyncio.run(run())


def test_up_down_and_up_again(database_url: str) -> None:
    upgrade(database_url)
    assert tables(database_url) == {*metadata.tables, "alembic_version"}
    assert fetch(database_url, "SELECT version_num FROM alembic_version") == [("phase2_008",)]
    downgrade(database_url)
    assert tables(database_url) == {"alembic_version"}
    upgrade(database_url, "phase2_001")
    later = {"interventions", "erasure_fences", "watermarks", "content_outcomes"}
    later |= {table.name for table in STREAM_TABLES}
    assert tables(database_url) == {*metadata.tables, "alembic_version"} - later
    upgrade(database_url)
    downgrade(database_url, "phase2_001")
    assert not later & tables(database_url)
    upgrade(database_url)
    assert tables(database_url) == {*metadata.tables, "alembic_version"}


def test_the_migrations_give_what_the_code_expects(database_url: str) -> None:
    upgrade(database_url)
    assert differences(database_url) == []
    fetch(database_url, "ALTER TABLE dropout_risk_scores DROP COLUMN risk_level")
    assert differences(database_url) != [], "the comparison would not see a missing column"


def test_interventions_are_found_by_learner_and_by_time(database_url: str) -> None:
    upgrade(database_url)
    found = [index for (index,) in fetch(database_url, INDEXES_SQL, "interventions")]
    assert sorted(found) == [
        "(log_partition, log_offset, id)",
        "(not_before) WHERE ((status)::text = 'active'::text)",
        "(user_id, status)",
        "PRIMARY KEY (id)",
        "UNIQUE (user_id, intervention_id)",
    ]


def test_it_runs_inside_a_running_event_loop(database_url: str) -> None:
    async def caller() -> None:
        upgrade(database_url)

    asyncio.run(caller())
    assert "struggle_predictions" in tables(database_url)


def test_the_five_tables_begin_with_the_specified_columns(database_url: str) -> None:
    upgrade(database_url)
    assert {table.name for table in PREDICTION_TABLES} == set(SPECIFIED)
    for table, expected in SPECIFIED.items():
        found = [
            (name, LONG.get(kind, kind.replace("varchar[]", "varchar[]")), notnull, preset)
            for name, kind, notnull, preset in fetch(database_url, COLUMNS_SQL, table)
        ]
        assert found[: len(expected)] == expected, table


def test_the_five_tables_have_the_specified_indexes_once(database_url: str) -> None:
    upgrade(database_url)
    for table, expected in INDEXES.items():
        found = [index for (index,) in fetch(database_url, INDEXES_SQL, table)]
        assert sorted(found) == sorted(expected), table


def test_every_table_knows_the_tenant_and_the_place_in_the_log(database_url: str) -> None:
    upgrade(database_url)
    own = {"sink_offsets", "watermarks", "stream_epoch", "alembic_version"}
    for table in tables(database_url) - own:
        names = {row[0] for row in fetch(database_url, COLUMNS_SQL, table)}
        assert "organization_id" in names, table
        assert {"log_partition", "log_offset"} <= names or table in {"outbox", "erasure_fences"}, table


def test_answers_and_what_came_of_contents_are_kept_by_the_history_of_struggle(database_url: str) -> None:
    upgrade(database_url, "phase2_006")
    answer = (
        "INSERT INTO struggle_predictions (user_id, content_id, content_type, struggle_probability, "
        "confidence, request_id, requested_at, prediction_id, as_of, model, actual_struggled) VALUES "
        "(1, 'c', 'lesson', 0.7, 1, $1, '2026-01-02', 'p', '2026-01-02', 'struggle-1', true)"
    )
    fetch(database_url, answer, None)
    facts = (
        "INSERT INTO outcome_facts (user_id, kind, subject, organization_id, newest, event, times) VALUES "
        "(1, 'struggled', 'c', 7, '2026-01-04', 9, ARRAY['2026-01-04', '2026-01-03']::timestamptz[]), "
        "(1, 'returned', '', 7, '2026-01-04', 8, ARRAY['2026-01-04']::timestamptz[])"
    )
    fetch(database_url, facts)
    upgrade(database_url)
    kept = "SELECT request_id, struggle_probability, actual_struggled FROM struggle_predictions"
    assert fetch(database_url, kept) == [("", 0.7, True)]
    moved = "SELECT kind, occurred_at::date::text, event FROM content_outcomes ORDER BY occurred_at"
    assert fetch(database_url, moved) == [("struggled", "2026-01-03", 0), ("struggled", "2026-01-04", 9)]
    of_others = "SELECT kind, event, array_length(times, 1) FROM outcome_facts ORDER BY kind"
    assert fetch(database_url, of_others) == [("returned", 8, 1)]
    fetch(database_url, answer.replace("2026-01-02", "2026-01-05"), "again")
    downgrade(database_url, "phase2_006")
    assert fetch(database_url, "SELECT request_id FROM struggle_predictions") == [("again",)]
    assert fetch(database_url, of_others) == [("returned", 8, 1), ("struggled", 9, 2)]


def test_ids_are_64_bit(database_url: str) -> None:
    upgrade(database_url)
    big = 2**63 - 1
    fetch(
        database_url,
        "INSERT INTO dropout_risk_scores (id, user_id, organization_id, risk_score, risk_level, confidence, "
        "prediction_id, as_of, model) VALUES ($1, $1, $1, 0.5, 'medium', 0, 'a', now(), 'weights')",
        big,
    )
    assert fetch(database_url, "SELECT id, user_id FROM dropout_risk_scores") == [(big, big)]
