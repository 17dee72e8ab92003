"""`lyo publish`: publishes an event file to the topics."""

import asyncio
import json
import logging
from pathlib import Path

import click
from rich.console import Console

from lyo.models.events.decode import Kind
from lyo.streams.event_files.progress_bars import bytes_progress
from lyo.streams.event_files.publisher import Published, PublishError, check_file, publish_file
from lyo.streams.event_files.reader import Bad
from lyo.streams.kafka.clients import Unreachable
from lyo.streams.settings import load_settings
from lyo.streams.topics import TopicError


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
    click.echo(json.dumps(summary(published)) if as_json else sentence(published, dry_run=dry_run))
    if published.bad:
        raise SystemExit(1)


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
