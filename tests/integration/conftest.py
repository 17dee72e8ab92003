"""The API's fixtures."""

from tests.support.api.api_fixtures import api, learners_url
from tests.support.api.recording import world

__all__ = ["api", "learners_url", "world"]
