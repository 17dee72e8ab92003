"""Examines a Postgres without changing it: version, schema, permissions, clock and the sink's offsets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from lyo.storage.database import plain_url
from lyo.storage.schema.tables import metadata

_FORBIDDEN: Final = """
SELECT t || ': ' || string_agg(p, ', ' ORDER BY p) FROM unnest($1::text[]) t,
       unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
WHERE to_regclass(quote_ident(t)) IS NOT NULL AND NOT has_table_privilege(quote_ident(t), p)
GROUP BY t ORDER BY t
"""
_MISSING: Final = "SELECT t FROM unnest($1::text[]) t WHERE to_regclass(quote_ident(t)) IS NULL ORDER BY t"
_SERVER: Final = """
SELECT current_setting('server_version_num')::int / 10000 AS version, current_user AS role,
       pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS read_only,
       current_setting('server_encoding') AS encoding, current_setting('max_connections')::int AS connections,
       has_schema_privilege(current_schema(), 'CREATE') AS may_create,
       to_regclass('alembic_version') IS NOT NULL AS migrated
"""
_MODEL: Final = """
SELECT model FROM dropout_risk_scores WHERE log_partition IS NOT NULL
ORDER BY log_partition DESC, log_offset DESC LIMIT 1
"""
_OFFSETS: Final = "SELECT topic, partition, next_offset FROM sink_offsets"


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of a Postgres.

    Args:
        version: Postgres' major version.
        role: the user of the connection.
        read_only: whether it is a standby, or set to read only.
        encoding: of the database.
        connections: the most that the server accepts.
        may_create: whether tables may be created.
        revision: of the schema; None if it was never migrated.
        missing: tables of the product that do not exist.
        forbidden: a line for each table that may not be read or written, with the missing privileges.
        skew_ms: how far the server's clock is ahead of this machine's.
        offsets: the sink's, by topic and partition; None if they may not be read.
        dropout_model: that of the newest dropout risk of a partition; None if there is none to read.
    """

    version: int
    role: str
    read_only: bool
    encoding: str
    connections: int
    may_create: bool
    revision: str | None
    missing: tuple[str, ...]
    forbidden: tuple[str, ...]
    skew_ms: float
    offsets: dict[tuple[str, int], int] | None
    dropout_model: str | None = None


async def look(database_url: str, now: Callable[[], int], seconds: float) -> Condition:
    """Examine the database, with at most so many seconds per query; `now` gives ms since the epoch.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError: it cannot be reached, or refuses.
    """
    connection = await asyncpg.connect(plain_url(database_url), timeout=seconds, command_timeout=seconds)
    try:
        server = await connection.fetchrow(_SERVER)
        tables = sorted(metadata.tables)
        missing = [row[0] for row in await connection.fetch(_MISSING, tables)]
        return Condition(
            **{name: value for name, value in server.items() if name != "migrated"},
            revision=await _revision(connection) if server["migrated"] else None,
            missing=tuple(missing),
            forbidden=tuple(row[0] for row in await connection.fetch(_FORBIDDEN, tables)),
            skew_ms=await _skew(connection, now),
            offsets=await _offsets(connection),
            dropout_model=await _dropout_model(connection),
        )
    finally:
        await connection.close(timeout=seconds)


async def create_database(database_url: str, seconds: float) -> None:
    """Create the database of the URL; raises asyncpg's errors, also if it exists."""
    server, _, name = plain_url(database_url).partition("?")[0].rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres", timeout=seconds, command_timeout=60)
    try:
        await connection.execute('CREATE DATABASE "{}"'.format(name.replace('"', '""')))
    finally:
        await connection.close(timeout=seconds)


async def _revision(connection: Any) -> str | None:
    try:
        revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.InsufficientPrivilegeError:
        return None
    return revision


async def _skew(connection: Any, now: Callable[[], int]) -> float:
    """The server's time less this machine's at the middle of the query (ms)."""
    began, before = time.perf_counter(), now()
    theirs = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp()) * 1000")
    return float(theirs) - before - (time.perf_counter() - began) * 500


async def _dropout_model(connection: Any) -> str | None:
    try:
        model: str | None = await connection.fetchval(_MODEL)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError):
        return None
    return model


async def _offsets(connection: Any) -> dict[tuple[str, int], int] | None:
    try:
        rows = await connection.fetch(_OFFSETS)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError):
        return None
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
