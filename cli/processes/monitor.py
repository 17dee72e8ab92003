"""`lyo monitor`: runs one process that watches the lag and serves the on-call page."""

from __future__ import annotations

import click

from lyo.ops.monitor.app import create_app
from lyo.ops.monitor.monitor import Monitor
from lyo.ops.serving import address, listen, server
from lyo.streams import log
from lyo.streams.settings import load_settings

DRAIN_SECONDS = 5
_log = log.logger("monitor")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def monitor() -> None:
    """Watch the lag of workers and sinks until stopped: /ops for people, /metrics for Prometheus.

    It asks the broker and Postgres, not the workers, and continues while they are unavailable: unknown values
    are shown as unknown. /ops needs LYO_MONITOR_TOKEN; with LYO_MONITOR_OPERATOR_TOKEN it also shows payloads
    of dead letters and retries them. /health and /metrics need no token and hold no learner's data.

    Example: LYO_MONITOR_TOKEN="$(openssl rand -hex 16)" lyo monitor
    """
    settings = load_settings()
    log.configure(settings.log_level, settings.log_format)
    with listen(
        settings.monitor_host, settings.monitor_port, "LYO_MONITOR_HOST, LYO_MONITOR_PORT"
    ) as listener:
        _log.info("listening on %s/ops", address(listener))
        if settings.monitor_token is None and settings.monitor_operator_token is None:
            _log.warning("/ops is closed: LYO_MONITOR_TOKEN is not set")
        server(create_app(Monitor(settings)), drain_seconds=DRAIN_SECONDS).run(sockets=[listener])
