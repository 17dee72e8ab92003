"""`lyo worker`: runs one worker process."""

from __future__ import annotations

import os
import sys

import click

from lyo import agents
from lyo.streams.bootstrap import create_worker, run_worker
from lyo.streams.failpoints import Failpoints
from lyo.streams.settings import load_settings


@click.command(epilog="Example: LYO_BOOTSTRAP_SERVERS=127.0.0.1:9092 lyo worker")
def worker() -> None:
    """Turn events into predictions, in one worker process, until stopped.

    Settings come from the environment (LYO_...). Start one process per core; they share the partitions. The
    exit code is 0 after a stop by signal, 2 for a bad setting, and 1 for any other error, with one line that
    says why.
    """
    settings = load_settings()
    try:
        Failpoints(settings.crash_at)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    reason = run_worker(settings, lambda: create_worker(settings, agents.register))
    if reason is not None:
        click.echo(f"lyo worker: {reason}", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of a broken connection could hold the process back.
    os._exit(0 if reason is None else 1)
