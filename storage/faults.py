"""What an error of Postgres means for the sink: try again, find the record, or stop."""

from __future__ import annotations

import ssl
from enum import StrEnum
from typing import Final

import asyncpg


class SinkError(RuntimeError):
    """The sink cannot go on; the message says why and what to do, in one line."""


class Fault(StrEnum):
    """What to do about an error."""

    PASSING = "passing"
    """Postgres is away or busy: the same again later."""
    DATA = "data"
    """Something in the batch cannot be stored: find it."""
    LASTING = "lasting"
    """Neither: end, with the reason."""


# SQLSTATE classes, as Postgres' documentation lists them.
_DATA: Final = ("21", "22", "23", "54")
# 25P03: the transaction stood still for so long that Postgres ended the session.
_PASSING: Final = ("08", "25P03", "40", "53", "55", "57", "58")


def judge(error: BaseException) -> Fault:
    """Say what to do about an error that a transaction ended with."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if "NOTIFY queue" in str(error):
            # Some listener takes nothing; that is none of our records' fault.
            return Fault.PASSING
        if state.startswith(_DATA):
            return Fault.DATA
        return Fault.PASSING if state.startswith(_PASSING) else Fault.LASTING
    return _judge_ours(error)


def _judge_ours(error: BaseException) -> Fault:
    """The same for what happened on this side of the connection."""
    # asyncpg could not turn a value into what the column takes; it is an InterfaceError, too.
    if isinstance(error, (asyncpg.DataError, UnicodeError, OverflowError)):
        return Fault.DATA
    # Who is not whom we were told to trust will not become so, nor will settings that contradict themselves.
    if isinstance(error, (ssl.SSLCertVerificationError, asyncpg.ClientConfigurationError)):
        return Fault.LASTING
    if isinstance(error, (asyncpg.InterfaceError, OSError, TimeoutError)):
        return Fault.PASSING
    return Fault.LASTING


def one_line(error: BaseException) -> str:
    """The error as one line, with its kind where it says nothing else."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def lasting(error: BaseException) -> SinkError:
    """The end of the sink for an error that trying again does not mend."""
    if isinstance(error, (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)):
        return SinkError(f"the schema is not the newest ({one_line(error)}): run `lyo migrate`")
    return SinkError(f"Postgres refuses: {one_line(error)}")
