"""One look at a Postgres: version, schema, permissions, clock and the sink's offsets, nothing changed."""

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
_OFFSETS: Final = "SELECT topic, partition, next_offset FROM sink_offsets"


@dataclass(frozen=True, slots=True)
class Condition:
    """What one look found.

    Args:
        version: Postgres' major version.
        role: who we are there.
        read_only: a standby, or set to read only.
        encoding: of the database.
        connections: most that the server takes.
        may_create: tables can be created.
        revision: of the schema, None when it was never migrated.
        missing: tables of ours that are not there.
        forbidden: a line for each table that may not be read or written, with the privileges that lack.
        skew_ms: how far the server's clock is ahead of ours.
        offsets: the sink's, by topic and partition; None where they may not be read.
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


async def look(database_url: str, now: Callable[[], int], seconds: float) -> Condition:
    """Ask the database everything once, each answer within so many seconds; `now` gives ms since the epoch.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError: it cannot be reached, or refuses.
    """
    connection = await asyncpg.connect(plain_url(database_url), timeout=seconds, command_timeout=seconds)
    try:
        server = await connection.fetchrow(_SERVER)
        ours = sorted(metadata.tables)
        missing = [row[0] for row in await connection.fetch(_MISSING, ours)]
        return Condition(
            **{name: value for name, value in server.items() if name != "migrated"},
            revision=await _revision(connection) if server["migrated"] else None,
            missing=tuple(missing),
            forbidden=tuple(row[0] for row in await connection.fetch(_FORBIDDEN, ours)),
            skew_ms=await _skew(connection, now),
            offsets=await _offsets(connection),
        )
    finally:
        await connection.close(timeout=seconds)


async def create_database(database_url: str, seconds: float) -> None:
    """Create the database that the URL names; raises what asyncpg raises, also when there is one."""
    server, _, name = plain_url(database_url).partition("?")[0].rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres", timeout=seconds, command_timeout=60)
    try:
        await connection.execute('CREATE DATABASE "{}"'.format(name.replace('"', '""')))
    finally:
        await connection.close(timeout=seconds)


async def _revision(connection: Any) -> str | None:
    try:
        found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.InsufficientPrivilegeError:
        return None
    return found


async def _skew(connection: Any, now: Callable[[], int]) -> float:
    """The server's time less ours at the middle of the question."""
    began, before = time.perf_counter(), now()
    theirs = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp()) * 1000")
    return float(theirs) - before - (time.perf_counter() - began) * 500


async def _offsets(connection: Any) -> dict[tuple[str, int], int] | None:
    try:
        rows = await connection.fetch(_OFFSETS)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError):
        return None
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
