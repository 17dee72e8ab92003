"""The database's schema revision, the newest revision, and whether the database accepts writes."""

from __future__ import annotations

from typing import Final

from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from lyo.storage.schema.migrate import configuration

_NO_SUCH_TABLE: Final = "42P01"


def newest_revision() -> str:
    """The schema revision of this version; read from files, so call it once."""
    return str(ScriptDirectory.from_config(configuration("")).get_current_head())


async def revision_of(connection: AsyncConnection) -> str | None:
    """The database's revision; None if it was never migrated.

    Raises:
        OSError, sqlalchemy.exc.SQLAlchemyError: Postgres cannot be reached, or refuses.
    """
    try:
        result = await connection.execute(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _NO_SUCH_TABLE:
            raise
        return None
    return result.scalar_one_or_none()


async def takes_writes(connection: AsyncConnection) -> bool:
    """Whether Postgres accepts writes now: a standby does not, nor a database set to read only.

    Raises:
        OSError, sqlalchemy.exc.SQLAlchemyError: Postgres cannot be reached, or refuses.
    """
    result = await connection.execute(text("SHOW transaction_read_only"))
    return bool(result.scalar_one() == "off")
