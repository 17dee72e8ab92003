"""Bring the schema to a revision, from Python: `upgrade(database_url)`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

MIGRATIONS: Final = Path(__file__).parents[2] / "migrations"


def configuration(database_url: str) -> Config:
    """What alembic needs to know, without a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    return config


def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the database up to `revision`; a database that is there already is left as it is.

    Raises:
        OSError: Postgres cannot be reached.
        sqlalchemy.exc.SQLAlchemyError: it refuses the connection or a statement.
    """
    _alone(command.upgrade, database_url, revision)


def downgrade(database_url: str, revision: str = "base") -> None:
    """Take the database back to `revision`, with all the data of what is taken away; raises as `upgrade`."""
    _alone(command.downgrade, database_url, revision)


def _alone(run: Callable[[Config, str], None], database_url: str, revision: str) -> None:
    # env.py starts an event loop of its own; a thread of its own lets an async caller call us, too.
    with ThreadPoolExecutor(1, thread_name_prefix="migrate") as threads:
        threads.submit(run, configuration(database_url), revision).result()
