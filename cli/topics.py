"""`lyo topics`: the topics of Kafka, created where they are missing."""

from __future__ import annotations

import asyncio

import click
from aiokafka.errors import KafkaError

from streams import topics as specified
from streams.settings import load_settings


@click.command()
def topics() -> None:
    """Create the topics that are missing on LYO_BOOTSTRAP_SERVERS and check the others.

    Example: lyo topics
    """
    settings = load_settings()
    try:
        created = asyncio.run(specified.ensure(settings))
    except (KafkaError, OSError) as error:
        raise click.ClickException(f"cannot reach Kafka at {settings.bootstrap_servers}: {error}") from None
    except specified.TopicError as error:
        raise click.ClickException(str(error)) from None
    for name in created:
        click.echo(f"created {name}")
    click.echo(f"{len(specified.specs(settings))} topics are there")
