"""The API's fixtures."""

from tests.support.api.api_fixtures import api, learners_url

__all__ = ["api", "learners_url"]
