"""`lyo dlq`: lists, shows and retries dead letters."""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

import click
from aiokafka.errors import KafkaError
from rich.console import Console

from lyo.cli.instant import Instant
from lyo.cli.operations.dlq_text import fields, line, page, safe
from lyo.streams.dead_letters.reader import Choice, DeadLetter, DeadLetterReader
from lyo.streams.dead_letters.retry import Retrier, Status, Tried
from lyo.streams.event_files.progress_bars import records_progress
from lyo.streams.kafka.clients import Unreachable, admin, explain, partition_counts, reach
from lyo.streams.settings import Settings, load_settings
from lyo.streams.topics import TopicError, names

LIMIT: Final = 100
_CONTEXT: Final = {"help_option_names": ["-h", "--help"]}

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(context_settings=_CONTEXT, epilog="Example: lyo dlq list --topic sentiment")
def dlq() -> None:
    """List, show and retry dead letters: events that could not be used, with the reason.

    A dead letter is named by the record that it is about: TOPIC/PARTITION/OFFSET.
    """


def _filters(command: Command) -> Command:
    for option in (
        click.option("--until", type=Instant(), help="Refused before this time."),
        click.option("--since", type=Instant(), help="Refused at or after this time."),
        click.option("--reason", help="Part of the reason, such as a field's name."),
        click.option("--topic", help="This topic only, with or without the prefix."),
    ):
        command = option(command)
    return command


# -- list --------------------------------------------------------------------------------------------------


@dlq.command("list", epilog="Example: lyo dlq list --topic sentiment --since 2026-01-31T00:00:00Z")
@_filters
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=LIMIT,
    show_default=True,
    help="Only the newest; --all shows all.",
)
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@click.option("--summary", is_flag=True, help="Only the number for each topic and reason.")
@click.option("--json", "as_json", is_flag=True, help="JSON objects, one per line, with the payloads.")
def list_dead_letters(
    *,
    topic: str | None,
    reason: str | None,
    since: int | None,
    until: int | None,
    limit: int,
    everything: bool,
    summary: bool,
    as_json: bool,
) -> None:
    """List dead letters, the oldest first."""
    choice = Choice(topic=topic, reason=reason, since=since, until=until)
    chosen = _run(lambda settings: _chosen(settings, choice))
    if summary:
        _print_summary(chosen, as_json=as_json)
        return
    # Stable: dead letters of the same time stay in the order of their topic.
    shown = chosen if everything else heapq.nlargest(limit, chosen, key=_time)
    for dead_letter in sorted(shown, key=_time):
        click.echo(json.dumps(fields(dead_letter)) if as_json else line(dead_letter))
    if len(shown) < len(chosen):
        click.echo(f"the newest {len(shown):,} of {len(chosen):,}: --all shows all", err=True)
    elif not as_json:
        click.echo(f"{len(chosen):,} dead letters", err=True)


def _time(dead_letter: DeadLetter) -> int:
    return dead_letter.failed_ms


def _print_summary(dead_letters: Sequence[DeadLetter], *, as_json: bool) -> None:
    counts = Counter((dead_letter.topic, dead_letter.reason) for dead_letter in dead_letters)
    for (topic, reason), count in counts.most_common():
        if as_json:
            click.echo(json.dumps({"topic": topic, "reason": reason, "count": count}))
        else:
            click.echo(f"{count:>9,}  {safe(topic)}  {safe(reason)}")


# -- show --------------------------------------------------------------------------------------------------


@dlq.command(epilog="Example: lyo dlq show lyo.sentiment/3/1041")
@click.argument("ids", nargs=-1, required=True, metavar="TOPIC/PARTITION/OFFSET...")
@click.option("--json", "as_json", is_flag=True, help="JSON objects, one per line.")
def show(*, ids: tuple[str, ...], as_json: bool) -> None:
    """Show dead letters with their payload, decoded as far as possible.

    Unprintable characters are escaped, so that a payload cannot control the terminal.
    """
    choice = Choice(ids=_named(ids))
    chosen = _run(lambda settings: _chosen(settings, choice))
    for place, dead_letter in enumerate(chosen):
        if as_json:
            click.echo(json.dumps(fields(dead_letter)))
        else:
            click.echo(("\n" if place else "") + page(dead_letter))
    _check_found(ids, chosen)


# -- retry -------------------------------------------------------------------------------------------------


@dlq.command(epilog="Example: lyo dlq retry --topic sentiment --reason 'more than a day'")
@click.argument("ids", nargs=-1, metavar="[TOPIC/PARTITION/OFFSET...]")
@_filters
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@click.option("--dry-run", is_flag=True, help="Send nothing; print what would be done.")
@click.option("--json", "as_json", is_flag=True, help="JSON objects, one per line.")
def retry(
    *,
    ids: tuple[str, ...],
    topic: str | None,
    reason: str | None,
    since: int | None,
    until: int | None,
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Publish the events of dead letters to their topics again, and wait for the acknowledgement.

    Use it after the cause is mended, such as a wrong clock or a limit. An event that would be refused again
    is not sent, nor is one that its topic already has in a usable record; so a retry may be repeated. The
    dead letters stay until they expire.

    The exit code is 1 if an event could not be sent.
    """
    choice = Choice(_named(ids), topic, reason, since, until)
    if everything == (choice != Choice()):
        raise click.UsageError("choose dead letters: TOPIC/PARTITION/OFFSET, or filters, or --all alone")
    tried, chosen = _run(lambda settings: _retry(settings, choice, dry_run=dry_run))
    for result in tried:
        _print_tried(result, as_json=as_json)
    counts = Counter(result.status for result in tried)
    totals = ", ".join(f"{counts[status]:,} {status}" for status in Status if counts[status])
    click.echo(
        (totals or "no dead letter was chosen") + (" (a dry run: nothing was sent)" if dry_run else ""),
        err=True,
    )
    _check_found(ids, chosen)
    if not all(result.status.settled for result in tried):
        raise SystemExit(1)


def _print_tried(result: Tried, *, as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps({"id": result.dead_letter.id, "status": result.status.value, "detail": result.detail})
        )
    else:
        click.echo(f"{safe(result.dead_letter.id)}  {result.status}: {safe(result.detail)}")


async def _retry(
    settings: Settings, choice: Choice, *, dry_run: bool
) -> tuple[list[Tried], list[DeadLetter]]:
    with records_progress(Console(stderr=True), "Reading their topics") as on_records:
        async with Retrier(settings, dry_run=dry_run, on_records=on_records) as retrier:
            every = await _chosen(settings, Choice())
            chosen = [
                dead_letter for dead_letter in every if choice.takes(dead_letter, settings.topic_prefix)
            ]
            return await retrier.retry(chosen, every), chosen


# -- common ------------------------------------------------------------------------------------------------


def _named(ids: Sequence[str]) -> frozenset[str]:
    for name in ids:
        topic, _, place = name.partition("/")
        number, _, offset = place.partition("/")
        if not topic or not number.isdecimal() or not (offset.isdecimal() or offset == "-"):
            raise click.UsageError(f"{name!r} is not TOPIC/PARTITION/OFFSET, such as lyo.sentiment/3/1041")
    return frozenset(ids)


def _check_found(ids: Sequence[str], dead_letters: Sequence[DeadLetter]) -> None:
    missing = sorted(set(ids) - {dead_letter.id for dead_letter in dead_letters})
    if missing:
        raise click.ClickException(f"there is no dead letter about {', '.join(missing)}")


async def _chosen(settings: Settings, choice: Choice) -> list[DeadLetter]:
    reader = DeadLetterReader(settings)
    chosen = [
        dead_letter async for dead_letter in reader.read() if choice.takes(dead_letter, settings.topic_prefix)
    ]
    if reader.unreadable:
        click.echo(f"{reader.unreadable:,} records on the topic are no dead letters", err=True)
    return chosen


def _run(work: Callable[[Settings], Coroutine[Any, Any, T]]) -> T:
    """Run ``work`` once Kafka answers; Kafka's errors become one line."""
    # Not logged: the client's retries are of no interest, and its final error is printed below.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    settings = load_settings()
    try:
        return asyncio.run(_once_there(settings, work))
    except (Unreachable, TopicError) as error:
        raise click.ClickException(str(error)) from None
    except KafkaError as error:
        raise click.ClickException(f"Kafka: {explain(error)}") from None


async def _once_there(settings: Settings, work: Callable[[Settings], Coroutine[Any, Any, T]]) -> T:
    topic = names(settings).dead_letters

    async def topic_exists() -> bool:
        async with admin(settings) as client:
            return topic in await partition_counts(client, [topic])

    if not await reach(settings, topic_exists):
        raise TopicError(f"topic {topic} does not exist: `lyo topics` creates the topics")
    return await work(settings)
