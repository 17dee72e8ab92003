"""`lyo lag`: prints the lag of each group per topic and partition, from the broker and Postgres."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from typing import Final

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lyo.ops.monitor.monitor import Monitor
from lyo.ops.monitor.page.words import moment
from lyo.ops.monitor.snapshot import GroupLag, PartitionLag, Snapshot, Status
from lyo.streams.log import configure
from lyo.streams.settings import load_settings

UNKNOWN: Final = "unknown"
STYLES: Final = {
    Status.OK: "green",
    Status.LAGGING: "yellow",
    Status.STALLED: "red",
    Status.STOPPED: "bold red",
    Status.REWOUND: "bold red",
    Status.UNKNOWN: "magenta",
}


@click.command(epilog="Example: lyo lag --watch --busy")
@click.option("--watch", is_flag=True, help="Repeat until stopped, at the monitor's interval.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --watch one per line.")
@click.option("--busy", is_flag=True, help="Leave out partitions that are ok and have no lag.")
@click.option(
    "--observe",
    default=2.0,
    show_default=True,
    type=click.FloatRange(min=0, max=3_600),
    help="Observe for so long before printing (s); with 0, rates and stalls are unknown.",
)
def lag(*, watch: bool, as_json: bool, busy: bool, observe: float) -> None:
    """Print the lag of workers and sinks per group, topic and partition, in events and in seconds.

    It asks the broker and Postgres, not the workers, so it is right even if they hang. Unknown values are
    printed as unknown, never as 0. The exit code is 1 if Kafka or Postgres did not answer.
    """
    settings = load_settings()
    configure("warning" if settings.log_level == "info" else settings.log_level)
    monitor = Monitor(settings)
    try:
        missing = asyncio.run(
            _watch(monitor, as_json, busy) if watch else _once(monitor, as_json, busy, observe)
        )
    except asyncio.CancelledError:
        return
    if missing:
        click.get_current_context().exit(1)


async def _once(monitor: Monitor, as_json: bool, busy: bool, observe: float) -> str | None:
    try:
        snapshot = await monitor.look()
        until = asyncio.get_running_loop().time() + observe
        while (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, monitor.settings.monitor_interval_seconds))
            snapshot = await monitor.look()
    finally:
        await monitor.close()
    missing = _missing(snapshot)
    if missing:  # before a table of unknowns, which it explains
        click.ClickException(missing).show()
    if as_json:
        click.echo(encoded(snapshot, busy))
    else:
        Console(width=None if Console().is_terminal else 150).print(table(snapshot, busy))
    return missing


async def _watch(monitor: Monitor, as_json: bool, busy: bool) -> None:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        if as_json:
            async for snapshot in _snapshots(monitor):
                click.echo(encoded(snapshot, busy))
            return
        with Live(console=Console(), auto_refresh=False, vertical_overflow="visible") as live:
            async for snapshot in _snapshots(monitor):
                why = Text(_missing(snapshot) or "", "bold red")
                live.update(Group(why, table(snapshot, busy)) if why else table(snapshot, busy), refresh=True)
    finally:
        await monitor.close()


async def _snapshots(monitor: Monitor) -> AsyncIterator[Snapshot]:
    while True:
        yield await monitor.look()
        await asyncio.sleep(monitor.settings.monitor_interval_seconds)


def encoded(snapshot: Snapshot, busy: bool) -> str:
    """The groups of a snapshot as JSON; null means unknown."""
    groups = [
        msgspec.to_builtins(group) | {"partitions": msgspec.to_builtins(_chosen(group, busy))}
        for group in snapshot.groups
    ]
    body = {"at": snapshot.at, "kafka": snapshot.kafka, "postgres": snapshot.postgres, "groups": groups}
    return msgspec.json.encode(body).decode()


def table(snapshot: Snapshot, busy: bool) -> Table:
    """A snapshot as a table: each group's partitions, then the group."""
    table_ = Table("group", "topic", box=None, pad_edge=False)
    table_.add_column("part", justify="right")
    for name in ("events", "seconds", "in/s", "out/s", "drained in"):
        table_.add_column(name, justify="right")
    table_.add_column("status")
    table_.add_column("why", overflow="fold")
    for group in snapshot.groups:
        for partition in _chosen(group, busy):
            table_.add_row(partition.group, partition.topic, str(partition.partition), *_figures(partition))
        table_.add_row(group.group, "all topics", "all", *_figures(group), style="bold")
    return table_


def _chosen(group: GroupLag, busy: bool) -> list[PartitionLag]:
    return [
        partition
        for partition in group.partitions
        if not busy
        or partition.status is not Status.OK
        or partition.events != 0
        or partition.history_until is not None
    ]


def _figures(lag: PartitionLag | GroupLag) -> Iterable[str | Text]:
    yield UNKNOWN if lag.events is None else f"{lag.events:,}"
    yield UNKNOWN if lag.seconds is None else f"{lag.seconds:,.1f}"
    yield UNKNOWN if lag.rate_in is None else f"{lag.rate_in:,.1f}"
    yield UNKNOWN if lag.rate_out is None else f"{lag.rate_out:,.1f}"
    yield _drain(lag)
    yield Text(lag.status.value, STYLES[lag.status])
    said = [] if lag.status is Status.OK else [lag.why]
    if lag.history_until is not None:
        said.append(f"taking in history up to {moment(lag.history_until)}")
    yield "; ".join(said)


def _drain(lag: PartitionLag | GroupLag) -> str:
    if lag.drain_seconds is not None:
        return f"{lag.drain_seconds:,.0f} s"
    known = lag.events is not None and lag.rate_in is not None and lag.rate_out is not None
    return "not at this rate" if known else UNKNOWN


def _missing(snapshot: Snapshot) -> str | None:
    named = (("Kafka", snapshot.kafka), ("Postgres", snapshot.postgres))
    away = [f"{name} did not answer: {reached.why}" for name, reached in named if not reached.ok]
    return "; ".join(away) or None
