"""Errors that mean that Postgres is unavailable, and what the client is told."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

TAKES_NO_WRITES: Final = "The database takes no writes now."
# SQLSTATE classes and codes, as Postgres' documentation lists them.
_MEANINGS: Final = {
    (
        "42P01",
        "42703",
        "3F000",
    ): "The database's schema is not the newest: run `lyo migrate`.",
    ("57014",): "The database took too long to answer.",
    ("25006",): TAKES_NO_WRITES,
    ("54",): "The database refuses to store anything now.",
    ("42501",): "The role that the database is used with lacks a privilege.",
}
_PASSING: Final = ("08", "40", "53", "55", "57", "58")
_DATABASE: Final = ("3D000", "28")


def why_away(error: BaseException) -> str | None:
    """One sentence for an error that a later retry may not have; None for any other error."""
    if isinstance(error, PoolTimeout):
        return "All connections to the database are in use."
    if isinstance(error, DBAPIError):
        return _of_database(error)
    if isinstance(error, (ConnectionError, TimeoutError, OSError)):
        return "The database cannot be reached."
    return None


def _of_database(error: DBAPIError) -> str | None:
    state = str(getattr(error.orig, "sqlstate", None) or "")
    for states, meaning in _MEANINGS.items():
        if state.startswith(states):
            return meaning
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return "The connection to the database was lost."
    if state.startswith(_PASSING):
        return "The database is unavailable or busy."
    return "The database cannot be used." if state.startswith(_DATABASE) else None
