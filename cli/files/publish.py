"""`lyo publish`: publishes an event file to the topics."""

import asyncio
import json
import logging
import time
from collections import Counter
from pathlib import Path
from typing import Final

import click
from aiokafka.errors import KafkaError
from rich.console import Console

from lyo.models.events.checks import PARTITION
from lyo.models.events.decode import Kind
from lyo.streams.dead_letters.reader import newer
from lyo.streams.event_files.progress_bars import bytes_progress
from lyo.streams.event_files.publisher import Published, PublishError, check_file, publish_file
from lyo.streams.event_files.reader import Bad
from lyo.streams.kafka.clients import Unreachable
from lyo.streams.settings import Settings, load_settings
from lyo.streams.topics import TopicError

NOTICED_MS: Final = 86_400_000
NOTICE_SECONDS: Final = 5.0


@click.command(epilog="Example: lyo publish events.jsonl.gz")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--dry-run", is_flag=True, help="Only check the lines: send nothing, and do not connect to Kafka."
)
@click.option(
    "--history",
    is_flag=True,
    help="Mark each record as history: nobody is judged by it until all has come. Events published more than "
    "a day after they happened are history anyway.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
def publish(*, file: Path, dry_run: bool, history: bool, as_json: bool) -> None:
    """Publish an event file (JSON Lines, .gz allowed; - is standard input).

    Lines that cannot be used are named by number on standard error and left out; the exit code is then 1.
    Organizations and contents are acknowledged before the lines after them are sent.
    """
    # Not logged: the client's retries are of no interest, and its final error is printed below.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(stderr=True)
    try:
        with bytes_progress(console, "Checking" if dry_run else "Publishing") as on_bytes:

            def on_bad(bad: Bad) -> None:
                console.print(
                    f"line {bad.line}: {bad.reason}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                    emoji=False,
                )

            if dry_run:
                published = asyncio.run(check_file(file, on_bytes, on_bad))
            else:
                sending = publish_file(file, load_settings(), on_bytes, on_bad, history=history)
                published = asyncio.run(sending)
    except (PublishError, TopicError, Unreachable) as error:
        raise click.ClickException(str(error)) from None
    if not dry_run:
        for line in asyncio.run(notices(load_settings())):
            click.echo(line, err=True)
    click.echo(json.dumps(summary(published)) if as_json else sentence(published, dry_run=dry_run))
    if published.bad:
        raise SystemExit(1)


async def notices(settings: Settings) -> list[str]:
    """Return a line for each topic into whose wrong partitions another client published in the last day.

    Nobody else may tell its publisher. Nothing is said where the dead letters cannot be read in time.
    """
    since = time.time_ns() // 1_000_000 - NOTICED_MS
    try:
        async with asyncio.timeout(NOTICE_SECONDS):
            letters = await newer(settings, since)
    except (KafkaError, OSError, TimeoutError):
        return []
    counts = Counter(letter.topic for letter in letters if letter.field == PARTITION)
    return [
        f"{topic}: {count:,} records of another client were refused in the last day, since its partitioner "
        "put them in wrong partitions: set partitioner=murmur2_random there, then `lyo dlq retry`"
        for topic, count in sorted(counts.items())
    ]


def summary(published: Published) -> dict[str, object]:
    """The object that `--json` prints."""
    return {
        "lines": published.lines,
        "records": published.records,
        "bad": published.bad,
        "seconds": round(published.seconds, 3),
        "by_type": {
            kind.value: published.counts[kind.value] for kind in Kind if published.counts[kind.value]
        },
    }


def sentence(published: Published, *, dry_run: bool = False) -> str:
    """One sentence about what was published or checked."""
    kinds = [
        f"{published.counts[kind.value]:,} {kind.value}" for kind in Kind if published.counts[kind.value]
    ]
    done = "valid" if dry_run else "published"
    bad = f", {published.bad:,} bad lines left out" if published.bad else ""
    listed = f": {', '.join(kinds)}" if kinds else ""
    return f"{published.records:,} records {done} in {published.seconds:.1f} s{bad}{listed}"
