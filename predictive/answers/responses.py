"""From records and rows to the API's objects: the specification's fields first, then what is ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from lyo.models.formulas.regression import LEVELS
from lyo.models.formulas.send_time import FACTORS, Moment
from lyo.models.predictions.records import text, written

__all__ = [
    "Answer",
    "dropout_answer",
    "moment_answer",
    "plateau_answers",
    "regression_answers",
    "struggle_answer",
    "text_of",
    "timing_answer",
]

Answer: TypeAlias = dict[str, Any]
Fields: TypeAlias = Mapping[str, Any]

_COMPUTED: Final = ("as_of", "valid_until", "model", "reason", "factors")
_DROPOUT: Final = (
    "risk_score",
    "risk_level",
    "risk_factors",
    "session_frequency_trend",
    "avg_days_between_sessions",
    "sentiment_trend_7d",
    "days_since_last_completion",
    "performance_trend",
    "longest_streak",
    "current_streak",
    "reengagement_strategy",
    "calculated_at",
    "user_id",
    "organization_id",
    "confidence",
    "timezone",
    *_COMPUTED,
)
_TIMING: Final = (
    "user_id",
    "peak_hours",
    "optimal_study_time",
    "best_days",
    "avg_session_duration_minutes",
    "preferred_session_length",
    "performance_by_hour",
    "most_active_hour",
    "least_active_hour",
    "typical_study_days",
    "sessions_analyzed",
    "confidence",
    "updated_at",
    "organization_id",
    "timezone",
    "recommended_time",
    *_COMPUTED,
)
_STRUGGLE: Final = (
    "struggle_probability",
    "confidence",
    "should_offer_help",
    "help_message",
    "features",
    "content_id",
    "content_type",
    "actions",
    *_COMPUTED,
)
_PLATEAU: Final = (
    "days_on_topic",
    "attempts",
    "mastery_level",
    "mastery_improvement",
    "is_active",
    "intervention_suggested",
    "detected_at",
    "resolved",
    "resolved_at",
    "ended_at",
    "ended_because",
)
_REGRESSION: Final = (
    "peak_mastery",
    "current_mastery",
    "regression_amount",
    "days_since_practice",
    "last_practiced_at",
    "urgency",
    "detected_at",
    "is_active",
    "resolved_at",
    "predicted_mastery_in_week",
)


def text_of(moment: datetime | int | None) -> str | None:
    """A moment of Postgres, or in ms, as the records write it: RFC 3339 in UTC, to the millisecond."""
    if moment is None:
        return None
    if isinstance(moment, int):
        return text(moment)
    return written(moment.astimezone(UTC))


def _taken(record: Fields, names: Iterable[str]) -> Answer:
    return {name: record[name] for name in names}


def dropout_answer(record: Fields, row: Fields) -> Answer:
    """Dropout risk of a record, with what came of it from the learner's row ({} if there is none)."""
    return _taken(record, _DROPOUT) | {
        "strategy_executed": row.get("strategy_executed") or False,
        "strategy_executed_at": text_of(row.get("strategy_executed_at")),
        "user_returned": row.get("user_returned"),
        "returned_at": text_of(row.get("returned_at")),
    }


def timing_answer(record: Fields) -> Answer:
    """Timing profile of a record."""
    return _taken(record, _TIMING)


def struggle_answer(record: Fields) -> Answer:
    """Struggle prediction of a record, or of its row in Postgres."""
    if "features" not in record:
        moments = {name: text_of(record[name]) for name in ("as_of", "valid_until")}
        record = {**record, **moments, "features": record["prediction_features"]}
    return _taken(record, _STRUGGLE)


def moment_answer(judged: Moment, profile: Fields, *, studied: bool) -> Answer:
    """Whether a moment is a good time, with the timing record that it was judged by."""
    shares = zip(FACTORS, judged.contributions, strict=True)
    known = judged.confidence > 0
    return {
        "is_good_time": judged.is_good,
        "reasoning": judged.reasoning,
        "alternative_time": text_of(judged.alternative),
        "score": judged.score / 100,
        "confidence": judged.confidence / 100,
        "factors": [{"name": name, "contribution": part / 100} for name, part in shares] if known else [],
        "studied_today": studied,
        **_taken(profile, ("timezone", "as_of", "valid_until", "model", "reason")),
    }


def plateau_answers(records: Iterable[Fields], rows: Iterable[Fields], *, active_only: bool) -> list[Answer]:
    """Plateaus of records, an object for each episode, the longest first."""
    stored = _by_episode(rows)
    found = []
    for record in records:
        for episode in _episodes(record, active_only):
            row = stored.get((record["skill_id"], datetime.fromisoformat(episode["detected_at"])), {})
            found.append(
                {
                    "plateau_id": row.get("id"),
                    **_taken(record, ("topic", "skill_id")),
                    **_taken(episode, _PLATEAU),
                    "intervention_taken": row.get("intervention_taken", False),
                    **_about(record, episode, ("confidence", "updated_at", *_COMPUTED)),
                }
            )
    return sorted(found, key=lambda each: (not each["is_active"], -each["days_on_topic"], each["skill_id"]))


def regression_answers(
    records: Iterable[Fields], rows: Iterable[Fields], *, active_only: bool
) -> list[Answer]:
    """Regressions of records, an object for each episode, the most urgent first."""
    stored = _by_episode(rows)
    found = []
    for record in records:
        for episode in _episodes(record, active_only):
            row = stored.get((record["skill_id"], datetime.fromisoformat(episode["detected_at"])), {})
            reviewed_at = row["reviewed_at"] if row else None
            found.append(
                {
                    "regression_id": row.get("id"),
                    **_taken(record, ("skill_id", "skill_name")),
                    **_taken(episode, _REGRESSION),
                    "reminder_sent": row.get("reminder_sent") or False,
                    "reminder_sent_at": text_of(row.get("reminder_sent_at")),
                    "user_reviewed": episode["user_reviewed"] or bool(row.get("user_reviewed")),
                    "reviewed_at": text_of(reviewed_at) or episode["resolved_at"],
                    **_about(record, episode, ("confidence", "urgency_score", *_COMPUTED)),
                }
            )
    return sorted(found, key=_urgency)


def _urgency(regression: Fields) -> tuple[Any, ...]:
    level = LEVELS.index(regression["urgency"])
    return not regression["is_active"], -level, -regression["regression_amount"], regression["skill_id"]


def _episodes(record: Fields, active_only: bool) -> list[Fields]:
    return [episode for episode in record["episodes"] if episode["is_active"] or not active_only]


def _about(record: Fields, episode: Fields, names: Iterable[str]) -> Answer:
    """Fields of a record beside an episode; how sure it is and why are about its newest episode alone."""
    found = _taken(record, names)
    if episode is not record["episodes"][-1]:
        nothing: Answer = {"confidence": None, "urgency_score": None, "reason": None, "factors": []}
        found |= {name: value for name, value in nothing.items() if name in found}
    return found


def _by_episode(rows: Iterable[Fields]) -> dict[tuple[str, datetime], Fields]:
    return {(row["skill_id"], row["detected_at"]): row for row in rows}
