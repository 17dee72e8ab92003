"""`lyo topics`: the topics of Kafka, created where they are missing."""

from __future__ import annotations

import asyncio

import click

from lyo.streams import topic_admin
from lyo.streams import topics as specified
from lyo.streams.kafka.clients import Unreachable, reach
from lyo.streams.settings import load_settings


@click.command()
def topics() -> None:
    """Create the topics that are missing on LYO_BOOTSTRAP_SERVERS and check the others.

    Waits LYO_CONNECT_SECONDS for Kafka.

    Example: lyo topics
    """
    settings = load_settings()
    try:
        created = asyncio.run(reach(settings, lambda: topic_admin.ensure(settings)))
    except (specified.TopicError, Unreachable) as error:
        raise click.ClickException(str(error)) from None
    for name in created:
        click.echo(f"created {name}")
    click.echo(f"{len(specified.specs(settings))} topics are there")
