"""`lyo misplaced`: finds and moves what lies in partitions of other learners."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator

import asyncpg
import click
from aiokafka.errors import KafkaError

from lyo.ops.misplaced import Report, look, move
from lyo.streams.kafka.clients import Unreachable, explain
from lyo.streams.settings import load_settings
from lyo.streams.topics import TopicError


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]}, epilog="Example: lyo misplaced --move"
)
@click.option("--move", "moving", is_flag=True, help="Move it; without this nothing is changed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def misplaced(*, moving: bool, as_json: bool) -> None:
    """Find what a client with another partitioner has left in partitions of other learners.

    Events in a wrong partition are sent to the right one, each counted once, as by `lyo dlq retry`; those of
    erased learners are not. Rows and predictions that an earlier version computed there are deleted from the
    topics, and Postgres gets those of the right partition. Upgrade every worker and sink before, and set the
    client's partitioner (docs/publishing.md). It reads the input topics whole.

    Without --move the exit code is 1 if there is anything to move.
    """
    settings = load_settings()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        report = asyncio.run((move if moving else look)(settings))
    except (TopicError, Unreachable) as error:
        raise click.ClickException(str(error)) from None
    except (KafkaError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise click.ClickException(" ".join(explain(error).split())) from None
    if as_json:
        click.echo(json.dumps({"events": report.events, "keys": report.keys, "rows": report.rows}))
    else:
        for line in _lines(report, moving=moving):
            click.echo(line)
    if not moving and not report.clean:
        raise SystemExit(1)


def _lines(report: Report, *, moving: bool) -> Iterator[str]:
    if not (report.events or report.keys or report.rows):
        yield "everything is in its partition"
    for topic, counts in sorted(report.events.items()):
        for status, count in sorted(counts.items()):
            yield f"{count:>9,}  events of {topic}: {_MEANING.get(status, (status, status))[moving]}"
    for topic, count in sorted(report.keys.items()):
        yield f"{count:>9,}  keys of {topic}: {'deleted' if moving else 'to be deleted'}"
    for table, count in sorted(report.rows.items()):
        yield f"{count:>9,}  learners of table {table}: {'put right' if moving else 'to be put right'}"


_MEANING = {
    "retried": ("to be sent where they belong", "sent where they belong"),
    "counted": ("are counted where they belong", "are counted where they belong"),
}
