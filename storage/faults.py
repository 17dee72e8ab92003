"""What an error of Postgres means for the sink: try again, find the record, or stop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final

import asyncpg

from lyo.streams import metrics
from lyo.streams.log import logger

PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

log = logger("sink")


class SinkError(RuntimeError):
    """The sink cannot go on; the message says why and what to do, in one line."""


class Fault(StrEnum):
    """What to do about an error."""

    PASSING = "passing"
    """Postgres is away, busy or read-only: try the same again later."""
    DATA = "data"
    """A record may be to blame: it is if the rest of the batch can be stored. If not, as `PASSING`."""
    LASTING = "lasting"
    """Trying again does not help: end, with the reason."""


# SQLSTATE classes and codes, as Postgres' documentation lists them.
# 54: a row that is too long, but also a full NOTIFY queue and a server that must be vacuumed first.
# P0001: a trigger's own refusal.
_DATA: Final = ("21", "22", "23", "44", "54", "P0001")
# 25006: the server is read-only, as a standby before it takes over.
# 25P03: Postgres ended the session because its transaction was idle for too long.
_PASSING: Final = ("08", "25006", "25P03", "40", "53", "55", "57", "58")
_AWAY: Final = ("08", "57P")


def judge(error: BaseException) -> Fault:
    """Say what to do about an error that a transaction ended with."""
    if isinstance(error, asyncpg.PostgresError):
        # By SQLSTATE and never by the text, which is in the server's language (lc_messages).
        state = error.sqlstate or ""
        if state.startswith(_DATA):
            return Fault.DATA
        return Fault.PASSING if state.startswith(_PASSING) else Fault.LASTING
    return _judge_ours(error)


def _judge_ours(error: BaseException) -> Fault:
    """Say what to do about an error of the client's side of the connection."""
    # asyncpg could not convert a value to the column's type; this is an InterfaceError, too.
    if isinstance(error, (asyncpg.DataError, UnicodeError, OverflowError)):
        return Fault.DATA
    # Certificate errors and contradictory settings are permanent: do not retry.
    if isinstance(error, (ssl.SSLCertVerificationError, asyncpg.ClientConfigurationError)):
        return Fault.LASTING
    if isinstance(error, (asyncpg.InterfaceError, OSError, TimeoutError)):
        return Fault.PASSING
    return Fault.LASTING


def one_line(error: BaseException) -> str:
    """The error in one line; only its type if it has no message."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of an error of Postgres, else the error's type: a label of bounded variety."""
    return getattr(error, "sqlstate", None) or type(error).__name__


def waiting_for(error: BaseException) -> str:
    """Why one waits for Postgres, in one line that names the SQLSTATE."""
    state = sqlstate(error)
    if not isinstance(error, asyncpg.PostgresError) or state.startswith(_AWAY):
        return f"Postgres is away: {one_line(error)}"
    return f"Postgres stores nothing (SQLSTATE {state}): {one_line(error)}"


def lasting(error: BaseException) -> SinkError:
    """The error that ends the sink where trying again does not help."""
    if isinstance(error, (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)):
        return SinkError(f"the schema is not the newest ({one_line(error)}): run `lyo migrate`")
    return SinkError(f"Postgres refuses: {one_line(error)}")


class Retries:
    """Attempts with growing pauses, until one succeeds or the process is to stop.

    Args:
        stop: set when the process is to stop.
        drop: drops the connection to Postgres after an error that may pass, which it is told.
    """

    def __init__(self, stop: asyncio.Event, drop: Callable[[BaseException], None]) -> None:
        self._stop = stop
        self._drop = drop

    def pauses(self) -> Iterator[float]:
        """Seconds to wait after each failed attempt; ends when the process is to stop."""
        yield from PAUSES
        while not self._stop.is_set():
            yield PAUSES[-1]

    async def wait(self, seconds: float) -> None:
        """Wait so many seconds, or until the process is to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def passing(self, error: Exception) -> None:
        """Log an error that may pass and is no record's fault, and drop the connection.

        Raises:
            SinkError: it will not pass.
        """
        if isinstance(error, SinkError):
            raise error
        if judge(error) is Fault.LASTING:
            raise lasting(error) from error
        self._drop(error)
        metrics.SINK_RETRIES.inc()
        log.warning("trying again: %s", waiting_for(error))
