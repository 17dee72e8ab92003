"""`lyo migrate`: brings the Postgres schema to a revision."""

from __future__ import annotations

import click
from sqlalchemy.exc import SQLAlchemyError

from lyo.storage.database import shown_url
from lyo.storage.schema.migrate import downgrade, upgrade
from lyo.streams.settings import load_settings


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--revision", default="head", show_default=True, help="The revision to bring the schema to.")
@click.option("--down", is_flag=True, help="Go back to --revision (base: drop every table, with its data).")
def migrate(revision: str, down: bool) -> None:
    """Bring the Postgres schema to the newest revision; run again, it changes nothing.

    The database is LYO_DATABASE_URL and must exist.

    Example: lyo migrate

    Example: lyo migrate --down --revision base
    """
    if down and revision == "head":
        raise click.UsageError("--down needs --revision, such as --revision base")
    url = load_settings().database_url
    try:
        (downgrade if down else upgrade)(url, revision)
    except (OSError, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise click.ClickException(f"cannot migrate {shown_url(url)}: {reason}") from None
    click.echo(f"{shown_url(url)} is at revision {revision}")
