"""Which revision the database's schema is at, and which it should be at."""

from __future__ import annotations

from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.migrate import configuration


def newest_revision() -> str:
    """The revision that this version's tables are at; read from files, so call it once."""
    return str(ScriptDirectory.from_config(configuration("")).get_current_head())


async def revision_of(connection: AsyncConnection) -> str | None:
    """The database's revision; None when it was never migrated.

    Raises:
        OSError, sqlalchemy.exc.SQLAlchemyError: Postgres cannot be reached, or refuses.
    """
    try:
        found = await connection.execute(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError:
        return None
    return found.scalar_one_or_none()
