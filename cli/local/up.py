"""`lyo up` and `lyo down`: start and stop the local Kafka and Postgres."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from lyo.tools.stack import local
from lyo.tools.stack.server import StackError

_PORT = click.IntRange(1, 65_535)
_HOME = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="LYO_HOME",
    help="Folder of data, logs and jars (LYO_HOME).  [default: .lyo in the checkout]",
)


@click.command()
@_HOME
@click.option("--kafka-port", type=_PORT, help="Port of Kafka.  [default: 9092, or a free one]")
@click.option("--postgres-port", type=_PORT, help="Port of Postgres.  [default: 5432, or a free one]")
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one JSON object.")
def up(home: Path | None, kafka_port: int | None, postgres_port: int | None, *, as_json: bool) -> None:
    """Start the local Kafka and Postgres, create topics, migrate. Running servers are left alone.

    Example: eval "$(lyo up)" && lyo publish events.jsonl.gz
    """
    from rich.console import Console

    from lyo.streams.topics import TopicError

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        with console.status("Starting Kafka and Postgres"):
            addresses = local.up(
                home or local.default_home(),
                kafka_port=kafka_port,
                postgres_port=postgres_port,
                say=console.print,
            )
    except (StackError, TopicError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(msgspec.json.encode(addresses).decode())
        return
    for name, value in addresses.environment().items():
        click.echo(f"export {name}={value}")


@click.command()
@_HOME
def down(home: Path | None) -> None:
    """Stop the local Kafka and Postgres. Their data stays for the next `lyo up`.

    Example: lyo down
    """
    stopped = local.down(home or local.default_home(), say=lambda line: click.echo(line, err=True))
    if not stopped:
        click.echo("Nothing was running.", err=True)
