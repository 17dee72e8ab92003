"""`lyo monitor`: one process that watches the lag and shows the on-call page."""

from __future__ import annotations

import socket

import click
import uvicorn

from cli.serving import Server, listen
from ops.app import create_app
from ops.monitor import Monitor
from streams import log
from streams.settings import Settings, load_settings

DRAIN_SECONDS = 5
_log = log.logger("monitor")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def monitor() -> None:
    """Watch the lag of workers and sinks until stopped: /ops for people, /metrics for Prometheus.

    Asks the broker and Postgres, never the workers, and goes on when they are away: what is not known is
    shown as unknown. /ops is opened with LYO_MONITOR_TOKEN; with LYO_MONITOR_OPERATOR_TOKEN it also shows
    what dead letters held, and retries them. /health and /metrics need no token and hold no learner's data.

    Example: LYO_MONITOR_TOKEN="$(openssl rand -hex 16)" lyo monitor
    """
    settings = load_settings()
    log.configure(settings.log_level, settings.log_format)
    with listen(
        settings.monitor_host, settings.monitor_port, "LYO_MONITOR_HOST, LYO_MONITOR_PORT"
    ) as listener:
        host, port = listener.getsockname()[:2]
        _log.info("listening on http://%s:%d/ops", f"[{host}]" if ":" in host else host, port)
        if settings.monitor_token is None and settings.monitor_operator_token is None:
            _log.warning("/ops is closed: LYO_MONITOR_TOKEN is not set")
        _serve(settings, listener)


def _serve(settings: Settings, listener: socket.socket) -> None:
    config = uvicorn.Config(
        create_app(Monitor(settings)),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    Server(config).run(sockets=[listener])
