"""What test_engine.py and test_engine_restart.py share."""

from __future__ import annotations

from lyo.models.arrays.zones import DAY
from lyo.models.predictions.records import IDENTITY_FREE
from tests.support.learners.building import Current, Sent, completion, without


def fading(first: int, skill: str = "s") -> list[Sent]:
    """A skill known well and answered wrongly once at the end: a regression some days later."""
    scores = [0.8] * 8 + [0.0]
    return [completion(1, first + day * DAY, skill, score=score) for day, score in enumerate(scores)]


def comparable(current: Current, of: Current) -> Current:
    """Predictions to compare; of requests for struggle, those that are still followed."""
    chosen = {key: record for key, record in current.items() if key[0] != "struggle" or key in of}
    return without(chosen, IDENTITY_FREE)
