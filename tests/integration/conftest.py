"""What integration tests share: the API's fixtures, and settings with topics and tables."""

from __future__ import annotations

import pytest

from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin
from lyo.streams.settings import Settings
from tests.support.api.api_fixtures import api, learners_url
from tests.support.api.recording import world

__all__ = ["api", "learners_url", "world"]


@pytest.fixture
async def ready(settings: Settings) -> Settings:
    """Settings with topics and tables."""
    await topic_admin.ensure(settings)
    upgrade(settings.database_url)
    return settings
