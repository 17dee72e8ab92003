"""What alembic runs: the revisions, in one transaction, through asyncpg."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
from alembic import context
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from lyo.storage.database import async_url, engine
from lyo.storage.schema.tables import metadata
from lyo.streams.settings import load_settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Two processes that migrate at once wait for each other. Any constant that only this product uses.
LOCK = 7_046_029_254_386_353_131


def database_url() -> str:
    """The URL handed over by `lyo.storage.schema.migrate`, else the settings'."""
    given = context.config.attributes.get("database_url")
    return str(given) if given is not None else load_settings().database_url


def run(connection: Connection) -> None:
    """Run the revisions on one connection."""
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()


async def online() -> None:
    """Connect, run the revisions, disconnect."""
    connections = engine(database_url(), poolclass=NullPool)
    try:
        async with connections.connect() as connection:
            await connection.run_sync(run)
    finally:
        await connections.dispose()


def offline() -> None:
    """Print the SQL instead of running it (`alembic upgrade head --sql`)."""
    context.configure(url=async_url(database_url()), target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    """Run for `lyo.storage.schema.migrate`, whose callers see the errors, or for `alembic` itself.

    Raises:
        alembic.util.CommandError: for `alembic`, which shows it in one line.
    """
    try:
        if context.is_offline_mode():
            offline()
        else:
            asyncio.run(online())
    except (OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if context.config.attributes.get("database_url") is not None:
            raise
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise CommandError(f"LYO_DATABASE_URL: {reason or type(error).__name__}") from None


main()
