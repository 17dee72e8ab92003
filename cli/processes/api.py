"""`lyo api`: runs one process that answers over HTTP from Postgres."""

from __future__ import annotations

import gc
from pathlib import Path

import click

from lyo.ops.serving import address, listen, server
from lyo.predictive.api.access.auth import KeyMissingError
from lyo.predictive.api.app import create_app
from lyo.streams import log, metrics
from lyo.streams.settings import Settings, load_settings

_GARBAGE_AFTER = 50_000
_log = log.logger("api")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def api() -> None:
    """Serve predictions, outcomes and erasure requests over HTTP until stopped.

    It needs Postgres only, and keys to verify tokens: LYO_JWT_JWKS_URL, LYO_JWT_JWKS_FILE or, for
    development, LYO_JWT_SECRET. SIGTERM or Ctrl-C ends it after the running requests.

    Example: LYO_JWT_JWKS_FILE=keys.json lyo api
    """
    settings = load_settings()
    log.configure(settings.log_level, settings.log_format)
    _check_file(settings.jwt_jwks_file)
    try:
        app = create_app(settings)
    except KeyMissingError as error:
        raise click.ClickException(str(error)) from None
    with listen(settings.api_host, settings.api_port, "LYO_API_HOST, LYO_API_PORT") as listener:
        running = server(app, drain_seconds=settings.api_drain_seconds, keep_alive_seconds=75)
        _log.info("listening on %s", address(listener))
        _warn_of_secret(settings)
        _collect_rarely()
        try:
            with metrics.exporting(settings, "api", app.state.running.samples):
                running.run(sockets=[listener])
        except metrics.MetricsError as error:
            raise click.ClickException(str(error)) from None
    _log.info("stopped; all running requests were answered")


def _check_file(path: str | None) -> None:
    if path is None:
        return
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise click.ClickException(f"LYO_JWT_JWKS_FILE: cannot read {path}: {error.strerror}") from None


def _collect_rarely() -> None:
    """Make garbage collection rare: requests leave few cycles, and each run would walk the catalogue."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_AFTER)


def _warn_of_secret(settings: Settings) -> None:
    if settings.jwt_secret is not None:
        _log.warning("tokens signed with LYO_JWT_SECRET (HS256) are accepted: for development only")
