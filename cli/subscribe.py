"""`lyo subscribe`: changes from Postgres as JSON Lines."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import click

from predictive.subscribing import Subscription, SubscriptionError
from predictive.subscribing import subscribe as subscription
from storage.subscription import POLL_SECONDS
from streams.log import configure
from streams.settings import load_settings


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
    with the operation "reset" says that the tables were rebuilt: every row follows anew.
    """
    settings = load_settings()
    configure(settings.log_level)
    # As Ctrl-C, also while a full pipe holds the output back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
    except KeyboardInterrupt:
        return


async def _print(changes: Subscription) -> None:
    out = sys.stdout.fileno()
    async with changes:
        async for change in changes:
            _write(out, change.json() + b"\n")


def _write(out: int, line: bytes) -> None:
    """Write a line at once: what is printed is whole, or its end is missing, whatever kills us."""
    while line:
        line = line[os.write(out, line) :]
