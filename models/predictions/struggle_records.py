"""Answers to struggle requests as records."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from lyo.models.formulas import struggle
from lyo.models.predictions.records import Head, assemble, factors, moments, optional, texts
from lyo.models.predictions.types import Features, HelpAction, Struggle
from lyo.models.state.struggle_requests import FirstAnswer, Request

__all__ = ["struggle_records"]

_ACTIONS = msgspec.convert(struggle.ACTIONS, list[HelpAction])


def struggle_records(
    heads: list[Head], requests: list[Request], answers: struggle.Struggle, sentiment: NDArray[np.float64]
) -> list[Struggle]:
    """Records of answers ``(n,)``; a request that was not answered before keeps this answer as its first."""
    features = [
        Features(**dict(zip(struggle.FEATURES, values, strict=True)))
        for values in zip(*(optional(column) for column in answers.features.T), strict=True)
    ]
    probability, confidence = (answers.score / 100).tolist(), (answers.confidence / 100).tolist()
    helps = answers.help.tolist()
    for request, likely, sure, as_of in zip(requests, probability, confidence, moments(heads), strict=True):
        if request.answered is None:
            request.answered = FirstAnswer(probability=likely, confidence=sure, as_of=as_of)
    return assemble(
        Struggle,
        heads,
        predicted_at=moments(heads),
        request_id=[request.request_id for request in requests],
        content_id=[request.content_id for request in requests],
        content_type=[request.type for request in requests],
        struggle_probability=probability,
        confidence=confidence,
        reason=list(map(_reason, answers.enough.tolist(), answers.unsure.tolist())),
        should_offer_help=helps,
        help_message=[
            struggle.help_message(parts) if offered else None
            for offered, parts in zip(helps, answers.contributions, strict=True)
        ],
        actions=[_ACTIONS if offered else [] for offered in helps],
        features=features,
        factors=factors(struggle.FEATURES, answers.contributions, answers.contributions != 0),
        prereq_mastery=[feature.prereq_mastery for feature in features],
        similar_performance=[feature.similar_performance for feature in features],
        content_difficulty=[feature.content_difficulty for feature in features],
        days_since_review=[None if days < 0 else days for days in answers.days_since_review.tolist()],
        cognitive_load=[feature.cognitive_load for feature in features],
        sentiment_trend=optional(sentiment),
        content_metadata=[request.metadata for request in requests],
        requested_at=texts(np.fromiter((request.at for request in requests), np.int64, len(requests))),
        answered=[request.answered for request in requests],
    )


def _reason(enough: bool, unsure: bool) -> str | None:
    if not enough:
        return "not enough data: nothing is known of this content"
    return "not enough data: too little is known of the learner to offer help" if unsure else None
