"""What the processes that answer over HTTP share: a server that ends in order, and its socket."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from typing import Any, Final

import click
import uvicorn

BACKLOG: Final = 2_048


class Server(uvicorn.Server):
    """Ends with 0 when it is asked to stop, where uvicorn raises the signal again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and Ctrl-C; a second Ctrl-C does not wait."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def listen(host: str, port: int, variables: str) -> socket.socket:
    """A listening socket.

    Raises:
        click.ClickException: the address cannot be used; names the settings' variables.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise click.ClickException(f"cannot listen on {host}:{port} ({variables}): {reason}") from None


def address(listener: socket.socket) -> str:
    """Where a socket listens, as people open it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server(app: Any, *, drain_seconds: int, keep_alive_seconds: int = 5) -> Server:
    """A server of an ASGI app: `drain_seconds` for requests under way at the end, then it stops.

    `keep_alive_seconds` is how long an idle connection is kept.
    """
    return Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=keep_alive_seconds,
            timeout_graceful_shutdown=drain_seconds,
        )
    )
