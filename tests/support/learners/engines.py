"""What test_engine.py and test_engine_restart.py share."""

from __future__ import annotations

from lyo.models.predictions.records import IDENTITY_FREE
from tests.support.learners.building import Current, without


def comparable(current: Current, of: Current) -> Current:
    """Predictions to compare; of requests for struggle, those that are still followed."""
    chosen = {key: record for key, record in current.items() if key[0] != "struggle" or key in of}
    return without(chosen, IDENTITY_FREE)
