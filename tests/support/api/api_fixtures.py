"""A database with learners in it, for the tests of the API; nobody changes what they find of others."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lyo.streams.settings import Settings
from tests.support.api.client import api_settings
from tests.support.learners.stored import fill, known
from tests.support.servers.kinds import PostgresServer


@pytest.fixture(scope="session")
def learners_url(postgres: PostgresServer) -> Iterator[str]:
    """The database of `tests.support.learners.stored`."""
    name = f"t{uuid.uuid4().hex[:10]}"
    url = postgres.create_database(name)
    asyncio.run(fill(url, known()))
    yield url
    postgres.drop_database(name)


@pytest.fixture
def api(learners_url: str, tmp_path: Path) -> Settings:
    """Settings of an API on that database."""
    return api_settings(learners_url, tmp_path / "jwks.json")
