"""Prediction records about learners, and the head, bytes and id of every record.

A record's content is a pure function of (row, as_of, model, catalogue, zone) with rounded numbers, so
contents are compared byte by byte. The head names the sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths
from lyo.models.arrays.zones import DAY, Zones
from lyo.models.formulas import dropout, timing
from lyo.models.formulas.dropout_factors import evident
from lyo.models.formulas.strategy import strategy
from lyo.models.predictions.types import DropoutRisk, Factor, Prediction, Strategy, TimingProfile

__all__ = [
    "IDENTITY_FREE",
    "VALID_FOR",
    "Head",
    "assemble",
    "content_of",
    "dropout_records",
    "factors",
    "heads",
    "moments",
    "optional",
    "seal",
    "text",
    "texts",
    "timing_records",
]

IDENTITY_FREE = frozenset(
    {
        "answered",
        "as_of",
        "calculated_at",
        "catalogue_revision",
        "predicted_at",
        "prediction_id",
        "updated_at",
        "valid_until",
        "version",
    }
)
"""Fields that may differ between two runs over the same events, since they depend on batching."""

VALID_FOR = DAY + DAY // 24
NEVER_ACTIVE = "not enough data: no session and no completion yet"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
P = TypeVar("P", bound=Prediction)
Head: TypeAlias = dict[str, Any]
"""A record's fields about its learner and sources; the id is empty until the record is sent."""
_UNIDENTIFIED = b'{"prediction_id":"'
_CONTENT = b',"user_id":'


def heads(model: str, revision: int, as_of: Ints, rows: NDArray[np.void]) -> list[Head]:
    """Heads ``(n,)`` of a model's records about LEARNER rows ``(n,)`` as of instants ``(n,)`` in ms."""
    return [
        {
            "prediction_id": "",
            "version": version,
            "as_of": at,
            "valid_until": until,
            "model": model,
            "catalogue_revision": f"{revision:x}",
            "user_id": user,
            "organization_id": organization or None,
        }
        for version, at, until, user, organization in zip(
            rows["applied"].tolist(),
            texts(as_of),
            texts(as_of + VALID_FOR),
            rows["user"].tolist(),
            rows["organization"].tolist(),
            strict=True,
        )
    ]


def assemble(record: type[P], heads: list[Head], **columns: Sequence[Any]) -> list[P]:
    """Records ``(n,)`` from heads ``(n,)`` and columns ``(n,)`` of the other fields."""
    names = list(columns)
    return [
        record(**head, **dict(zip(names, values, strict=True)))
        for head, values in zip(heads, zip(*columns.values(), strict=True), strict=True)
    ]


def moments(heads: list[Head]) -> list[str]:
    """The instants ``(n,)`` that records hold for."""
    return [head["as_of"] for head in heads]


def texts(at: Ints) -> list[str]:
    """Instants in ms as RFC 3339 in UTC."""
    result: list[str] = np.datetime_as_string(at.astype("M8[ms]"), unit="ms", timezone="UTC").tolist()
    return result


def text(at: int) -> str:
    """One instant in ms as RFC 3339 in UTC; years 1 to 9999."""
    return written(_EPOCH + timedelta(milliseconds=int(at)))


def written(moment: datetime) -> str:
    """An instant in UTC as RFC 3339, to the millisecond."""
    return f"{moment.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def optional(values: Floats) -> list[float | None]:
    """Numbers rounded to hundredths, None for NaN."""
    known = ~np.isnan(values)
    rounded = (hundredths(np.where(known, values, 0.0)) / 100).tolist()
    return [value if is_known else None for value, is_known in zip(rounded, known.tolist(), strict=True)]


def factors(names: Sequence[str], contributions: Ints, shown: NDArray[np.bool_]) -> list[list[Factor]]:
    """The ``factors`` of predictions ``(n,)``: the contributions ``(n, k)`` in hundredths to show."""
    return [
        [
            Factor(name=name, contribution=part)
            for name, part, show in zip(names, parts, shows, strict=True)
            if show
        ]
        for parts, shows in zip((contributions / 100).tolist(), shown.tolist(), strict=True)
    ]


def content_of(encoded: bytes) -> bytes:
    """A record's bytes without its head; heads hold no text from outside, so the mark is unique."""
    return b"{" + encoded[encoded.index(_CONTENT) + 1 :]


def seal(salt: str, key: bytes, moment: str, fingerprint: int, encoded: bytes) -> bytes:
    """A record's bytes with its id: a hash of its inputs and its content.

    Two contents never share an id.

    Args:
        salt: kind, model and state of the catalogue.
        key: the record's key.
        moment: its ``as_of``.
        fingerprint: of the learner's row.
        encoded: the record with an empty id.
    """
    seed = f"{salt}{moment}|{fingerprint:x}|".encode() + key + b"|" + content_of(encoded)
    start = len(_UNIDENTIFIED)
    return _UNIDENTIFIED + blake2b(seed, digest_size=16).hexdigest().encode() + encoded[start:]


def dropout_records(
    heads: list[Head], risk: dropout.DropoutRisk, zones: Zones, known: NDArray[np.bool_]
) -> list[DropoutRisk]:
    """Records of dropout risks ``(n,)`` in local days of ``zones (n,)``.

    A learner who is not ``known (n,)`` gets level low although the score is neutral: otherwise an app that
    acts on levels would nudge every new learner.
    """
    levels = [dropout.LEVELS[level] for level in np.where(known, dropout.level_of(risk.score), 0).tolist()]
    values, strong = risk.factors, _strong(risk)
    stays = np.where(risk.enough[:, None], risk.probability / 100, np.nan)
    return assemble(
        DropoutRisk,
        heads,
        calculated_at=moments(heads),
        risk_score=(risk.score / 100).tolist(),
        risk_level=levels,
        risk_factors=list(map(list, strong)),
        session_frequency_trend=optional(values.trend),
        avg_days_between_sessions=optional(values.gap),
        sentiment_trend_7d=optional(values.sentiment),
        days_since_last_completion=[
            None if days is None else int(days) for days in optional(values.since_completion)
        ],
        performance_trend=optional(values.performance),
        longest_streak=values.longest_streak.tolist(),
        current_streak=values.current_streak.tolist(),
        reengagement_strategy=list(map(_strategy, levels, strong)),
        confidence=(risk.confidence / 100).tolist(),
        reason=[None if enough else NEVER_ACTIVE for enough in risk.enough.tolist()],
        factors=factors(risk.names, risk.contributions, risk.shown),
        probability_7d=optional(stays[:, 0]),
        probability_14d=optional(stays[:, 1]),
        probability_28d=optional(stays[:, 2]),
        timezone=zones.names,
        timezone_source=zones.sources,
        known=known.tolist(),
    )


@lru_cache(maxsize=4096)
def _strategy(level: str, named: tuple[str, ...]) -> Strategy:
    return msgspec.convert(strategy(level, named), Strategy)


def _strong(risk: dropout.DropoutRisk) -> list[tuple[str, ...]]:
    """The factors that stand out in each risk ``(n,)``, the strongest first.

    Each has a positive contribution, and the metrics shown beside it support its wording.
    """
    strength = np.where(risk.enough[:, None], risk.factors.values * risk.factors.evidence, 0.0)
    raised = risk.contributions[:, [risk.names.index(name) for name in dropout.FACTORS]] > 0
    strength = np.where(raised & evident(risk.factors), strength, 0.0)
    order = np.argsort(-strength * np.array(list(dropout.WEIGHTS.values())), axis=1, kind="stable")
    return [
        tuple(dropout.FACTORS[factor] for factor in ranked if chosen[factor])
        for ranked, chosen in zip(order.tolist(), (strength >= dropout.NAMED_FROM).tolist(), strict=True)
    ]


def timing_records(heads: list[Head], profile: timing.TimingProfile, zones: Zones) -> list[TimingProfile]:
    """Records of timing profiles ``(n,)`` in local hours of ``zones (n,)``."""
    sessions = profile.sessions.tolist()
    confidence = (profile.confidence / 100).tolist()
    return assemble(
        TimingProfile,
        heads,
        updated_at=moments(heads),
        peak_hours=_names(profile.peak, range(24)),
        optimal_study_time=[None if hour < 0 else f"{hour:02d}:00:00" for hour in profile.optimal.tolist()],
        best_days=_names(profile.best, timing.WEEKDAYS),
        avg_session_duration_minutes=optional(profile.average_minutes),
        preferred_session_length=_known(profile.preferred_minutes),
        performance_by_hour=_scores(profile.scores),
        most_active_hour=_known(profile.most_active),
        least_active_hour=_known(profile.least_active),
        typical_study_days=_names(profile.typical, range(1, 8)),
        sessions_analyzed=sessions,
        confidence=confidence,
        reason=[
            None if sure > 0 else f"not enough data: {count} of {timing.BANDS[0]} sessions"
            for sure, count in zip(confidence, sessions, strict=True)
        ],
        factors=[[]] * len(heads),
        recommended_time=[
            None if at < 0 else moment
            for at, moment in zip(profile.recommended.tolist(), texts(profile.recommended), strict=True)
        ],
        timezone=zones.names,
        timezone_source=zones.sources,
    )


def _known(values: Ints) -> list[int | None]:
    """Numbers, None for negative ones."""
    return [None if value < 0 else value for value in values.tolist()]


def _names(chosen: NDArray[np.bool_], names: Sequence[Any]) -> list[list[Any]]:
    result: list[list[Any]] = [[] for _ in range(len(chosen))]
    for row, column in zip(*(part.tolist() for part in np.nonzero(chosen)), strict=True):
        result[row].append(names[column])
    return result


def _scores(scores: Floats) -> list[dict[str, float]]:
    result: list[dict[str, float]] = [{} for _ in range(len(scores))]
    rows, hours = np.nonzero(~np.isnan(scores))
    values = (hundredths(scores[rows, hours]) / 100).tolist()
    for row, hour, value in zip(rows.tolist(), hours.tolist(), values, strict=True):
        result[row][str(hour)] = value
    return result
