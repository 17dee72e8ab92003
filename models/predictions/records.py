"""Prediction records: each kind's content as it goes out, and the head that says what it came from.

The content is a pure function of (row, as_of, model, catalogue, zone) in rounded numbers, so two contents
can be compared byte by byte; the head names what it came from. Field names: specification, "API Endpoints".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.rounding import hundredths
from lyo.models.arrays.zones import DAY
from lyo.models.formulas import dropout, timing
from lyo.models.formulas.strategy import strategy

__all__ = [
    "IDENTITY_FREE",
    "VALID_FOR",
    "Head",
    "dropout_contents",
    "factors",
    "optional",
    "seal",
    "text",
    "texts",
    "timing_contents",
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
_ALSO_AS_OF = {
    "dropout-risk": "calculated_at",
    "timing": "updated_at",
    "plateaus": "updated_at",
    "struggle": "predicted_at",
}
_encode = msgspec.json.Encoder().encode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Content = dict[str, Any]


@dataclass(slots=True)
class Head:
    """What ``n`` contents of one kind were computed from; lists of equal length."""

    kind: str
    model: str
    revision: int
    as_of: Ints  # ms
    versions: list[int]  # events applied
    fingerprints: list[int]


def texts(at: Ints) -> list[str]:
    """Instants in ms as RFC 3339 in UTC."""
    found: list[str] = np.datetime_as_string(at.astype("M8[ms]"), unit="ms", timezone="UTC").tolist()
    return found


def text(at: int) -> str:
    """One instant in ms as RFC 3339 in UTC; years 1 to 9999."""
    return written(_EPOCH + timedelta(milliseconds=int(at)))


def written(moment: datetime) -> str:
    """A moment in UTC as RFC 3339, to the millisecond."""
    return f"{moment.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def optional(values: Floats) -> list[float | None]:
    """Numbers to a hundredth, None for NaN."""
    known = ~np.isnan(values)
    rounded = (hundredths(np.where(known, values, 0.0)) / 100).tolist()
    return [value if is_known else None for value, is_known in zip(rounded, known.tolist(), strict=True)]


def factors(names: Sequence[str], contributions: Ints, shown: NDArray[np.bool_]) -> list[list[Content]]:
    """Each prediction's ``factors``: the contributions ``(n, k)`` in hundredths that are to be shown."""
    return [
        [
            {"name": name, "contribution": part}
            for name, part, show in zip(names, parts, shows, strict=True)
            if show
        ]
        for parts, shows in zip((contributions / 100).tolist(), shown.tolist(), strict=True)
    ]


def seal(head: Head, keys: list[bytes], contents: list[bytes]) -> list[bytes]:
    """Put the head before each content; the id is a hash of both, so no id ever has two contents."""
    as_of, until = texts(head.as_of), texts(head.as_of + VALID_FOR)
    also = _ALSO_AS_OF.get(head.kind)
    sealed = []
    salt = f"{head.kind}|{head.model}|{head.revision:x}|"
    for key, content, moment, end, version, fingerprint in zip(
        keys, contents, as_of, until, head.versions, head.fingerprints, strict=True
    ):
        seed = f"{salt}{moment}|{fingerprint:x}|".encode() + key + b"|" + content
        repeated = "" if also is None else f'"{also}":"{moment}",'
        start = (
            f'{{"prediction_id":"{blake2b(seed, digest_size=16).hexdigest()}","version":{version},'
            f'"as_of":"{moment}","valid_until":"{end}",{repeated}"model":"{head.model}","catalogue_revision":"{head.revision:x}",'
        )
        sealed.append(start.encode() + content[1:])
    return sealed


def organizations(values: Ints) -> list[int | None]:
    """Organization ids, None for 0."""
    return [value or None for value in values.tolist()]


def dropout_contents(rows: NDArray[np.void], risk: dropout.DropoutRisk, zones: list[str]) -> list[bytes]:
    """Contents of dropout risks ``(n,)`` of LEARNER rows ``(n,)``."""
    levels = [dropout.LEVELS[level] for level in dropout.level_of(risk.score).tolist()]
    named = risk.values * risk.evidence
    named = np.where(risk.enough[:, None], named, 0.0)
    order = np.argsort(-named * np.array(list(dropout.WEIGHTS.values())), axis=1, kind="stable")
    strong = named >= dropout.NAMED_FROM
    columns = zip(
        rows["user"].tolist(),
        organizations(rows["organization"]),
        (risk.score / 100).tolist(),
        levels,
        [
            tuple(dropout.FACTORS[factor] for factor in ranked if chosen[factor])
            for ranked, chosen in zip(order.tolist(), strong.tolist(), strict=True)
        ],
        optional(risk.trend),
        optional(risk.gap),
        optional(risk.sentiment),
        [None if days is None else int(days) for days in optional(risk.since_completion)],
        optional(risk.performance),
        risk.longest_streak.tolist(),
        risk.current_streak.tolist(),
        (risk.confidence / 100).tolist(),
        [
            None if ok else _too_little(s, d)
            for ok, s, d in zip(risk.enough.tolist(), risk.sessions.tolist(), risk.days.tolist(), strict=True)
        ],
        factors(dropout.FACTORS, risk.contributions, (risk.evidence > 0) & risk.enough[:, None]),
        zones,
        strict=True,
    )
    return [
        _encode(
            {
                "user_id": user,
                "organization_id": organization,
                "risk_score": score,
                "risk_level": level,
                "risk_factors": strong_factors,
                "session_frequency_trend": trend,
                "avg_days_between_sessions": gap,
                "sentiment_trend_7d": sentiment,
                "days_since_last_completion": since,
                "performance_trend": performance,
                "longest_streak": longest,
                "current_streak": current,
                "reengagement_strategy": strategy(level, strong_factors),
                "confidence": confidence,
                "reason": reason,
                "factors": parts,
                "timezone": zone,
            }
        )
        for (
            user,
            organization,
            score,
            level,
            strong_factors,
            trend,
            gap,
            sentiment,
            since,
            performance,
            longest,
            current,
            confidence,
            reason,
            parts,
            zone,
        ) in columns
    ]


def _too_little(sessions: int, days: int) -> str:
    return (
        f"not enough data: {sessions} of {dropout.LEAST_SESSIONS} sessions, "
        f"{days} of {dropout.LEAST_DAYS} days since the first"
    )


def timing_contents(rows: NDArray[np.void], profile: timing.TimingProfile, zones: list[str]) -> list[bytes]:
    """Contents of timing profiles ``(n,)`` of LEARNER rows ``(n,)``."""
    columns = zip(
        rows["user"].tolist(),
        organizations(rows["organization"]),
        _names(profile.peak, range(24)),
        [None if hour < 0 else f"{hour:02d}:00:00" for hour in profile.optimal.tolist()],
        _names(profile.best, timing.WEEKDAYS),
        optional(profile.average_minutes),
        [None if minutes < 0 else minutes for minutes in profile.preferred_minutes.tolist()],
        _scores(profile.scores),
        [None if hour < 0 else hour for hour in profile.most_active.tolist()],
        [None if hour < 0 else hour for hour in profile.least_active.tolist()],
        _names(profile.typical, range(1, 8)),
        profile.sessions.tolist(),
        (profile.confidence / 100).tolist(),
        [
            None if at < 0 else text
            for at, text in zip(profile.recommended.tolist(), texts(profile.recommended), strict=True)
        ],
        zones,
        strict=True,
    )
    return [
        _encode(
            {
                "user_id": user,
                "organization_id": organization,
                "peak_hours": peaks,
                "optimal_study_time": optimal,
                "best_days": best,
                "avg_session_duration_minutes": average,
                "preferred_session_length": preferred,
                "performance_by_hour": scores,
                "most_active_hour": most,
                "least_active_hour": least,
                "typical_study_days": typical,
                "sessions_analyzed": sessions,
                "confidence": confidence,
                "reason": None
                if confidence > 0
                else f"not enough data: {sessions} of {timing.BANDS[0]} sessions",
                "factors": [],
                "recommended_time": recommended,
                "timezone": zone,
            }
        )
        for (
            user,
            organization,
            peaks,
            optimal,
            best,
            average,
            preferred,
            scores,
            most,
            least,
            typical,
            sessions,
            confidence,
            recommended,
            zone,
        ) in columns
    ]


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
