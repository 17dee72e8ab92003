"""How Postgres is reached: one URL for asyncpg and for SQLAlchemy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from sqlalchemy import URL


def async_url(database_url: str) -> URL:
    """The URL for SQLAlchemy, with asyncpg as its driver whatever driver the URL names."""
    return make_url(database_url).set(drivername="postgresql+asyncpg")


def plain_url(database_url: str) -> str:
    """The URL as asyncpg itself reads it, without a driver's name."""
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


def engine(database_url: str, **more: Any) -> AsyncEngine:
    """A SQLAlchemy engine on the database; nothing connects before it is used."""
    return create_async_engine(async_url(database_url), **more)


def shown_url(database_url: str) -> str:
    """The URL for people to read, without its password."""
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=True)
