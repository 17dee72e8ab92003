"""`lyo sink`: one process that writes the topics into Postgres."""

from __future__ import annotations

import asyncio
import signal

import click

from storage.faults import SinkError
from storage.rebuild import empty
from storage.sink import BATCH_RECORDS, Sink
from streams.clock import ClockError
from streams.kafka import Unreachable
from streams.log import configure
from streams.settings import Settings, load_settings


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--batch",
    default=BATCH_RECORDS,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Most records of one transaction.",
)
@click.option(
    "--rebuild",
    is_flag=True,
    help="First empty every table that the sink fills; then read the topics from their beginning.",
)
def sink(batch: int, rebuild: bool) -> None:
    """Write predictions, rows, outcomes, preferences and the catalogue into Postgres until stopped.

    Start as many as needed: they share the partitions. Each record is stored exactly once, whatever is
    killed; a record that Postgres refuses goes to the dead letters. SIGTERM or Ctrl-C ends it after the
    running transaction.

    Example: LYO_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/lyo lyo sink
    """
    settings = load_settings()
    configure(settings.log_level)
    try:
        asyncio.run(_run(settings, batch, rebuild))
    except (SinkError, Unreachable, ClockError) as error:
        raise click.ClickException(str(error)) from None


async def _run(settings: Settings, batch: int, rebuild: bool) -> None:
    if rebuild:
        await empty(settings.database_url)
    running = Sink(settings, batch_records=batch)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.stop)
    await running.run()
    click.echo(f"stored {running.stored} records, refused {running.refused}", err=True)
