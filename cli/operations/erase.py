"""`lyo erase`: erases a learner everywhere and prints a receipt."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

import click
import orjson
from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from lyo.ops.erasure import Receipt, check, erase_learner
from lyo.predictive.client import DeliveryError
from lyo.streams.kafka.clients import Unreachable, explain
from lyo.streams.settings import load_settings
from lyo.streams.topics import TopicError


def _instant(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an RFC 3339 time") from None
    if time.tzinfo is None:
        raise click.BadParameter(f"{text!r} has no offset from UTC")
    return time.astimezone(UTC)


@click.command(epilog="Example: lyo erase 123 --organization 7")
@click.argument("user", type=click.IntRange(1, 2**63 - 1))
@click.option("--organization", type=click.IntRange(1, 2**63 - 1), help="The learner's organization.")
@click.option(
    "--consent-from",
    metavar="TIME",
    callback=_instant,
    help="The learner consents to be known again: events from TIME on count, earlier ones do not.",
)
@click.option(
    "--check", "only_check", is_flag=True, help="Request nothing; only report what is still stored."
)
@click.option(
    "--wait",
    "seconds",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Longest time to wait until it is done (s).",
)
@click.option("--json", "as_json", is_flag=True, help="The receipt as one JSON object.")
def erase(
    *,
    user: int,
    organization: int | None,
    consent_from: datetime | None,
    only_check: bool,
    seconds: float,
    as_json: bool,
) -> None:
    """Erase learner USER: rows, predictions, interventions and dead letters, in Kafka and in Postgres.

    A running worker and a running sink carry it out. The receipt says what was removed where, and what
    compaction has yet to remove from Kafka's disks. Old events that are published again, or a rebuild from
    the log, do not bring the learner back. The exit code is 1 if it is not done within --wait.
    """
    settings = load_settings()
    try:
        if only_check:
            receipt = asyncio.run(check(settings, user))
        else:
            receipt = asyncio.run(erase_learner(settings, user, organization, consent_from, seconds))
    except (DeliveryError, TopicError, Unreachable) as error:
        raise click.ClickException(str(error)) from None
    except (KafkaError, SQLAlchemyError, OSError) as error:
        raise click.ClickException(" ".join(explain(error).split())) from None
    _show(receipt, as_json=as_json)
    if not receipt.done:
        sys.exit(1)


def _show(receipt: Receipt, *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(receipt.as_json()).decode())
        return
    for line in receipt.lines():
        click.echo(line)
