"""Answers to struggle requests as records."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from lyo.models.formulas import struggle
from lyo.models.predictions.records import factors, optional, texts
from lyo.models.state.struggle_requests import Content, Request

__all__ = ["first_answer", "struggle_contents", "with_answer"]

_encode = msgspec.json.Encoder().encode


def struggle_contents(
    requests: list[Request],
    users: list[int],
    organizations: list[int],
    answers: struggle.Struggle,
    sentiment: NDArray[np.float64],
) -> list[bytes]:
    """Contents of answers ``(n,)``, without what was answered first."""
    features = [optional(column) for column in answers.features.T]
    moods = optional(sentiment)
    asked_at = texts(np.fromiter((request.at for request in requests), np.int64, len(requests)))
    shown = factors(struggle.FEATURES, answers.contributions, answers.contributions != 0)
    contents = []
    for one, request in enumerate(requests):
        values = {name: column[one] for name, column in zip(struggle.FEATURES, features, strict=True)}
        helps = bool(answers.help[one])
        days = int(answers.days_since_review[one])
        contents.append(
            _encode(
                {
                    "user_id": users[one],
                    "organization_id": organizations[one] or None,
                    "request_id": request.request_id,
                    "content_id": request.content_id,
                    "content_type": request.type,
                    "struggle_probability": int(answers.score[one]) / 100,
                    "confidence": int(answers.confidence[one]) / 100,
                    "reason": None
                    if answers.enough[one]
                    else "not enough data: nothing is known of this content",
                    "should_offer_help": helps,
                    "help_message": struggle.help_message(answers.contributions[one]) if helps else None,
                    "actions": struggle.ACTIONS if helps else (),
                    "features": values,
                    "factors": shown[one],
                    "prereq_mastery": values["prereq_mastery"],
                    "similar_performance": values["similar_performance"],
                    "content_difficulty": values["content_difficulty"],
                    "days_since_review": None if days < 0 else days,
                    "cognitive_load": values["cognitive_load"],
                    "sentiment_trend": moods[one],
                    "content_metadata": request.metadata,
                    "requested_at": asked_at[one],
                }
            )
        )
    return contents


def first_answer(answers: struggle.Struggle, one: int, as_of: str) -> Content:
    """What a request is told when it comes."""
    return {
        "probability": int(answers.score[one]) / 100,
        "confidence": int(answers.confidence[one]) / 100,
        "as_of": as_of,
    }


def with_answer(content: bytes, answered: Content) -> bytes:
    """A content with what was answered first."""
    return content[:-1] + b',"answered":' + _encode(answered) + b"}"
