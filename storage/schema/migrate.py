"""Migrates the schema from Python: `upgrade(database_url)`."""

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
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    return config


def upgrade(database_url: str, revision: str = "head") -> None:
    """Migrate the database up to `revision`; does nothing if it is there already.

    Raises:
        OSError: Postgres cannot be reached.
        sqlalchemy.exc.SQLAlchemyError: it refuses the connection or a statement.
    """
    _alone(command.upgrade, database_url, revision)


def downgrade(database_url: str, revision: str = "base") -> None:
    """Migrate the database down to `revision`; the data of what is removed is lost. Raises as `upgrade`."""
    _alone(command.downgrade, database_url, revision)


def _alone(run: Callable[[Config, str], None], database_url: str, revision: str) -> None:
    # env.py starts its own event loop; in a thread of its own this works for async callers too.
    with ThreadPoolExecutor(1, thread_name_prefix="migrate") as threads:
        threads.submit(run, configuration(database_url), revision).result()
