"""`lyo subscribe`: changes from Postgres as JSON Lines."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import click

from lyo.predictive.subscription import Subscription, SubscriptionError
from lyo.predictive.subscription import subscribe as subscription
from lyo.storage.subscription.follow import POLL_SECONDS
from lyo.streams.log import configure
from lyo.streams.settings import load_settings


@click.command(epilog='Example: lyo subscribe --kinds dropout-risk,plateaus --after "$CURSOR" | engine')
@click.option(
    "--after", metavar="CURSOR", help="Go on after this cursor, taken from a change printed before."
)
@click.option("--kinds", help="Only these kinds, separated by commas.  [default: all]")
@click.option("--organization", type=click.IntRange(min=1), help="Only this organization's learners.")
@click.option("--once", is_flag=True, help="Stop when everything that is stored has been printed.")
@click.option(
    "--poll",
    "poll_seconds",
    default=POLL_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Look for changes at least this often (s); Postgres wakes us long before.",
)
@click.option("--json", "_as_json", is_flag=True, help="As JSON Lines, which is all there is.")
def subscribe(
    *,
    after: str | None,
    kinds: str | None,
    organization: int | None,
    once: bool,
    poll_seconds: float,
    _as_json: bool,
) -> None:
    """Print every change of the predictions in Postgres, one JSON object a line, until stopped.

    Without a cursor it begins with every row there is. Each line has a cursor; after a crash, go on with the
    last one that was dealt with (`--after`): nothing is missed and nothing from before it comes again. A line
    with the operation "reset" says that the tables were rebuilt or restored: every row follows anew.
    """
    settings = load_settings()
    configure(settings.log_level, settings.log_format)
    try:
        changes = subscription(
            settings.database_url,
            after,
            kinds=None if kinds is None else [kind.strip() for kind in kinds.split(",")],
            organization_id=organization,
            once=once,
            poll_seconds=poll_seconds,
            connect_seconds=settings.connect_seconds,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        asyncio.run(_print(changes))
    except SubscriptionError as error:
        raise click.ClickException(str(error)) from None


async def _print(changes: Subscription) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        async with changes:
            lines = []
            async for change in changes:
                lines.append(change.json() + b"\n")
                if not changes.pending:
                    # While a full pipe holds us back, Postgres' notifications must still be taken: one who
                    # does not take them fills the queue of all.
                    await asyncio.to_thread(_write, b"".join(lines))
                    lines.clear()
    except asyncio.CancelledError:
        # There is nothing to save, and a thread that a full pipe holds back must not hold us back.
        os._exit(0)


def _write(data: bytes) -> None:
    """Write past Python's buffer: a kill cuts the last line at most, and what was printed before is whole."""
    out = sys.stdout.fileno()
    while data:
        data = data[os.write(out, data) :]
