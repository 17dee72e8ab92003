"""Connects to Postgres by one URL, with TLS parameters in it, through asyncpg and SQLAlchemy."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import AsyncSession

_SECRET: Final = ("password", "sslpassword")
_AUTOCOMMIT: Final = {"isolation_level": "AUTOCOMMIT"}
_FILES: Final = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl"})


def async_url(database_url: str) -> URL:
    """The URL for SQLAlchemy, with asyncpg as its driver whatever driver the URL names.

    Raises:
        ValueError: it is no URL; the message does not show it.
    """
    return _parsed(database_url).set(drivername="postgresql+asyncpg")


def plain_url(database_url: str) -> str:
    """The URL as asyncpg itself reads it, without a driver's name.

    Raises:
        ValueError: as `async_url`, or a file that it names cannot be read.
    """
    url = _parsed(database_url)
    for name in _FILES & url.query.keys():
        # OpenSSL reports a missing file without its name.
        _check_readable(name, str(url.query[name]))
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def engine(database_url: str, *, connect_args: dict[str, Any] | None = None, **more: Any) -> AsyncEngine:
    """A SQLAlchemy engine on the database; nothing connects before it is used.

    ``connect_args`` are asyncpg's. asyncpg parses the URL itself: SQLAlchemy would pass libpq's TLS
    parameters (`sslmode`, `sslrootcert`, ...) as arguments that asyncpg does not know.
    """
    dsn, arguments = plain_url(database_url), connect_args or {}

    async def connect(*_: Any, **__: Any) -> Any:
        return await asyncpg.connect(dsn, **arguments)

    # This URL appears in errors and logs, so it has host and database but no password.
    shown = async_url(database_url).set(query={}, password=None)
    return create_async_engine(shown, async_creator=connect, **more)


@asynccontextmanager
async def autocommitting(sessions: Callable[[], AsyncSession]) -> AsyncIterator[AsyncSession]:
    """A session in which each statement is its own transaction, which saves two round trips."""
    async with sessions() as db:
        await db.connection(execution_options=_AUTOCOMMIT)
        yield db


def shown_url(database_url: str) -> str:
    """The URL for people to read, without its passwords."""
    url = _parsed(database_url).set(drivername="postgresql")
    query = {name: "xxx" if name in _SECRET else value for name, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)


def _check_readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"LYO_DATABASE_URL: {name}={path}: {error.strerror or error}") from None


def _parsed(database_url: str) -> URL:
    try:
        return make_url(database_url)
    except (ArgumentError, ValueError):
        # The message shows nothing of the URL: what looks like a port may be part of a password.
        raise ValueError(
            "LYO_DATABASE_URL is no URL of the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE "
            "(in user and password, write @ : / % as %40 %3A %2F %25)"
        ) from None
