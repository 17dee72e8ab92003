"""Builds the API's objects from records and rows: the specification's fields first, then further ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec

from lyo.models.formulas.regression import LEVELS
from lyo.models.formulas.send_time import FACTORS, Moment
from lyo.models.predictions.records import text, written
from lyo.models.predictions.types import (
    DropoutRisk,
    Plateaus,
    Prediction,
    Regressions,
    Struggle,
    TimingProfile,
)

__all__ = [
    "INTERNAL",
    "Answer",
    "dropout_answer",
    "moment_answer",
    "plain",
    "plateau_answers",
    "regression_answers",
    "stored_struggle_answer",
    "struggle_answer",
    "text_of",
]

Answer: TypeAlias = dict[str, Any]
Fields: TypeAlias = Mapping[str, Any]

INTERNAL: Final = ("prediction_id", "version", "catalogue_revision")
"""Fields that describe a record in the stream; an answer for a moment has no use for them."""
_COMPUTED: Final = ("as_of", "valid_until", "model", "reason", "factors")
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


def text_of(moment: datetime | int | None) -> str | None:
    """A datetime, or ms since the epoch, as records write it: RFC 3339 in UTC, to the millisecond."""
    if moment is None:
        return None
    if isinstance(moment, int):
        return text(moment)
    return written(moment.astimezone(UTC))


def _taken(record: Fields, names: Iterable[str]) -> Answer:
    return {name: record[name] for name in names}


def plain(record: Prediction) -> Answer:
    """A record in plain JSON types, without the `INTERNAL` fields."""
    fields: Answer = msgspec.to_builtins(record)
    for name in INTERNAL:
        del fields[name]
    return fields


def dropout_answer(record: DropoutRisk, row: Fields) -> Answer:
    """Dropout risk of a record, with what came of it from the learner's row ({} if there is none)."""
    return plain(record) | {
        "strategy_executed": row.get("strategy_executed") or False,
        "strategy_executed_at": text_of(row.get("strategy_executed_at")),
        "user_returned": row.get("user_returned"),
        "returned_at": text_of(row.get("returned_at")),
    }


def struggle_answer(record: Struggle) -> Answer:
    """Struggle prediction of a record."""
    return _taken(plain(record), _STRUGGLE)


def stored_struggle_answer(row: Fields) -> Answer:
    """Struggle prediction of its row in Postgres."""
    moments = {name: text_of(row[name]) for name in ("as_of", "valid_until")}
    return _taken({**row, **moments, "features": row["prediction_features"]}, _STRUGGLE)


def moment_answer(judged: Moment, profile: TimingProfile, *, studied: bool) -> Answer:
    """Whether a moment is a good time, with fields of the timing record by which it was judged."""
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
        **_taken(plain(profile), ("timezone", "as_of", "valid_until", "model", "reason")),
    }


def plateau_answers(
    records: Iterable[Plateaus], rows: Iterable[Fields], *, active_only: bool
) -> list[Answer]:
    """An object for each plateau episode of the records, active ones first, then the longest."""
    stored = _by_episode(rows)
    answers = []
    for record in map(plain, records):
        for episode in _episodes(record, active_only):
            row = stored.get((record["skill_id"], datetime.fromisoformat(episode["detected_at"])), {})
            answers.append(
                {
                    "plateau_id": row.get("id"),
                    **_taken(record, ("topic", "skill_id")),
                    **episode,
                    "intervention_taken": row.get("intervention_taken", False),
                    **_about(record, episode, ("confidence", "updated_at", *_COMPUTED)),
                }
            )
    return sorted(
        answers, key=lambda answer: (not answer["is_active"], -answer["days_on_topic"], answer["skill_id"])
    )


def regression_answers(
    records: Iterable[Regressions], rows: Iterable[Fields], *, active_only: bool
) -> list[Answer]:
    """An object for each regression episode of the records, active ones first, then the most urgent."""
    stored = _by_episode(rows)
    answers = []
    for record in map(plain, records):
        for episode in _episodes(record, active_only):
            row = stored.get((record["skill_id"], datetime.fromisoformat(episode["detected_at"])), {})
            reviewed_at = row["reviewed_at"] if row else None
            answers.append(
                {
                    "regression_id": row.get("id"),
                    **_taken(record, ("skill_id", "skill_name")),
                    **episode,
                    "reminder_sent": row.get("reminder_sent") or False,
                    "reminder_sent_at": text_of(row.get("reminder_sent_at")),
                    "user_reviewed": episode["user_reviewed"] or bool(row.get("user_reviewed")),
                    "reviewed_at": text_of(reviewed_at) or episode["resolved_at"],
                    **_about(record, episode, ("confidence", "urgency_score", *_COMPUTED)),
                }
            )
    return sorted(answers, key=_urgency)


def _urgency(regression: Fields) -> tuple[Any, ...]:
    level = LEVELS.index(regression["urgency"])
    return not regression["is_active"], -level, -regression["regression_amount"], regression["skill_id"]


def _episodes(record: Fields, active_only: bool) -> list[Fields]:
    return [episode for episode in record["episodes"] if episode["is_active"] or not active_only]


def _about(record: Fields, episode: Fields, names: Iterable[str]) -> Answer:
    """A record's fields for one episode; confidence, reason and factors are the newest episode's only."""
    fields = _taken(record, names)
    if episode is not record["episodes"][-1]:
        nothing: Answer = {"confidence": None, "urgency_score": None, "reason": None, "factors": []}
        fields |= {name: value for name, value in nothing.items() if name in fields}
    return fields


def _by_episode(rows: Iterable[Fields]) -> dict[tuple[str, datetime], Fields]:
    return {(row["skill_id"], row["detected_at"]): row for row in rows}
