"""`lyo rebuild`: drops rows and predictions, so that they are computed again from the log."""

from __future__ import annotations

import asyncio

import click
from aiokafka.errors import KafkaError

from lyo.storage.faults import SinkError
from lyo.storage.schema.rebuild import empty
from lyo.streams.kafka.clients import explain
from lyo.streams.rebuild import RebuildError, derived
from lyo.streams.rebuild import rebuild as drop_derived
from lyo.streams.settings import load_settings


@click.command(epilog="Example: lyo rebuild --yes && lyo worker & lyo sink &")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rebuild(*, yes: bool) -> None:
    """Drop rows and predictions, so that workers and sinks compute them again from the input topics.

    Use it if a worker or sink refuses to continue: a topic was created again, offsets were reset, or rows
    cannot be read. Stop every worker and sink first, and start them afterwards. Input topics, interventions,
    dead letters and erasures stay, so erased learners stay erased. Consumers of the prediction topics have to
    start from the beginning.
    """
    settings = load_settings()
    names = ", ".join(derived(settings))
    if not yes:
        click.confirm(f"This deletes {names} and what Postgres stored from them. Continue?", abort=True)
    try:
        asyncio.run(drop_derived(settings, lambda line: click.echo(line, err=True)))
        asyncio.run(empty(settings.database_url))
    except (RebuildError, SinkError) as error:
        raise click.ClickException(str(error)) from None
    except (KafkaError, OSError) as error:
        raise click.ClickException(f"Kafka at {settings.bootstrap_servers}: {explain(error)}") from None
    click.echo("The tables in Postgres are empty; now start the workers and sinks.", err=True)
