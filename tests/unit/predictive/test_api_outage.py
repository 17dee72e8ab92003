"""Which errors of the database are an outage, by SQLSTATE."""

from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from lyo.predictive.api.outage import TAKES_NO_WRITES, why_away


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (asyncpg.ProgramLimitExceededError("zu viele"), "The database refuses to store anything now."),
        (asyncpg.ReadOnlySQLTransactionError("nur lesend"), TAKES_NO_WRITES),
        (asyncpg.DiskFullError("voll"), "The database is unavailable or busy."),
        (asyncpg.NotNullViolationError("null"), None),
    ],
)
def test_a_condition_of_the_server_is_an_outage_and_a_bad_value_is_none(
    error: asyncpg.PostgresError, said: str | None
) -> None:
    assert why_away(DBAPIError("INSERT", {}, error)) == said
