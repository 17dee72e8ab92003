"""`lyo subscribe`: prints changes from Postgres as JSON Lines."""

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
@click.option("--after", metavar="CURSOR", help="Continue after this cursor, taken from an earlier change.")
@click.option("--kinds", help="Only these kinds, separated by commas.  [default: all]")
@click.option("--organization", type=click.IntRange(min=1), help="Only this organization's learners.")
@click.option("--once", is_flag=True, help="Stop after the last stored change.")
@click.option(
    "--poll",
    "poll_seconds",
    default=POLL_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Query at least this often (s); usually Postgres notifies much earlier.",
)
@click.option("--json", "_as_json", is_flag=True, help="JSON Lines; this is the only format.")
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

    Without a cursor it begins with every stored row. Each line has a cursor. After a crash, continue with the
    cursor of the last line that was processed (`--after`): no change is missed, and none from before it is
    printed again. A line with the operation "reset" means that the tables were rebuilt or restored; every row
    follows.
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
                    # In a thread, since a full pipe blocks: a session that reads no notifications fills
                    # the queue that all sessions of Postgres share.
                    await asyncio.to_thread(_write, b"".join(lines))
                    lines.clear()
    except asyncio.CancelledError:
        # There is nothing to save, and a thread that a full pipe blocks must not block the exit.
        os._exit(0)


def _write(data: bytes) -> None:
    """Write without Python's buffer, so that a kill cuts the last line at most."""
    out = sys.stdout.fileno()
    while data:
        data = data[os.write(out, data) :]
