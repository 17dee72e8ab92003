"""`lyo topics`: creates missing topics and checks the others."""

from __future__ import annotations

import asyncio

import click

from lyo.streams import topic_admin
from lyo.streams import topics as specified
from lyo.streams.kafka.clients import Unreachable, reach
from lyo.streams.settings import load_settings


@click.command()
def topics() -> None:
    """Create missing topics at LYO_BOOTSTRAP_SERVERS and check the others.

    It waits up to LYO_CONNECT_SECONDS for Kafka.

    Example: lyo topics
    """
    settings = load_settings()
    try:
        created = asyncio.run(reach(settings, lambda: topic_admin.ensure(settings)))
    except (specified.TopicError, Unreachable) as error:
        raise click.ClickException(str(error)) from None
    for name in created:
        click.echo(f"created {name}")
    click.echo(f"{len(specified.specs(settings))} topics exist")
