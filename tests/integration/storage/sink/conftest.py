"""Fixtures that tests here share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from lyo.storage.database import plain_url
from lyo.storage.schema.migrate import upgrade
from tests.support.servers.kinds import PostgresServer
from tests.support.sink.store import Store


@pytest.fixture
def other_database(postgres: PostgresServer, unique: str) -> str:
    url = postgres.create_database(f"{unique}b")
    upgrade(url)
    return url


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    upgrade(database_url)
    connection = await asyncpg.connect(plain_url(database_url))
    yield Store(connection)
    await connection.close()
