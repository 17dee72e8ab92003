"""`lyo sink`: runs one process that writes the topics into Postgres."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence

import click

from lyo.storage.faults import SinkError
from lyo.storage.outbox.relay import Relay
from lyo.storage.schema.rebuild import empty
from lyo.storage.sink.sink import BATCH_RECORDS, Sink
from lyo.storage.sink.watermark import Watermark
from lyo.streams import memory, metrics
from lyo.streams.clock import ClockError
from lyo.streams.failpoints import Failpoints
from lyo.streams.kafka.clients import Unreachable
from lyo.streams.log import configure
from lyo.streams.settings import Settings, load_settings


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--batch",
    default=BATCH_RECORDS,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Most records in one transaction.",
)
@click.option(
    "--rebuild",
    is_flag=True,
    help="First empty every table that the sink fills, then read the topics from the beginning.",
)
def sink(batch: int, rebuild: bool) -> None:
    """Write predictions, rows, outcomes, preferences and the catalogue into Postgres until stopped.

    Start as many as needed: they share the partitions. Each record is stored exactly once, even if processes
    are killed; a record that Postgres refuses becomes a dead letter. One of them also publishes the outbox's
    records to the topics, at least once and in order. SIGTERM or Ctrl-C ends it after the running
    transaction.

    Example: LYO_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/lyo lyo sink
    """
    settings = load_settings()
    try:
        Failpoints(settings.crash_at)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    configure(settings.log_level, settings.log_format)
    try:
        asyncio.run(_run(settings, batch, rebuild))
    except (SinkError, Unreachable, ClockError, metrics.MetricsError) as error:
        raise click.ClickException(str(error)) from None


async def _run(settings: Settings, batch: int, rebuild: bool) -> None:
    if rebuild:
        await empty(settings.database_url)
    failpoints = Failpoints(settings.crash_at)
    running = Sink(settings, batch_records=batch, failpoints=failpoints)
    relay = Relay(settings, failpoints=failpoints)
    watermark = Watermark(settings, running.positions)

    def stop() -> None:
        for part in (running, relay, watermark):
            part.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tidying = asyncio.create_task(memory.give_back_each_minute())
    with metrics.exporting(settings, "sink", lambda: [*running.samples(), *relay.samples()]):
        await _run_all(running, [relay, watermark], stop)
    tidying.cancel()
    click.echo(
        f"stored {running.stored} records, refused {running.refused}; "
        f"sent {relay.sent} of the outbox, refused {relay.refused}",
        err=True,
    )


async def _run_all(running: Sink, beside: Sequence[Relay | Watermark], stop: Callable[[], None]) -> None:
    """Run all parts until they are stopped. If one fails, stop the others, then raise its error."""
    storing = asyncio.create_task(running.run())
    beginning = asyncio.create_task(running.started.wait())
    await asyncio.wait([storing, beginning], return_when=asyncio.FIRST_COMPLETED)
    beginning.cancel()
    tasks = [storing]
    if running.started.is_set():
        tasks += [asyncio.create_task(part.run()) for part in beside]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.wait(tasks)
    errors = [error for task in tasks if (error := task.exception()) is not None]
    if errors:
        raise errors[0]
