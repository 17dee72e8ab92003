"""Builds the API's objects from records and rows: the specification's fields first, then further ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec

from lyo.models.formulas.regression import LEVELS
from lyo.models.formulas.send_time import FACTORS, TimeCheck
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
    "JUDGED_BY",
    "Answer",
    "dropout_answer",
    "left_out",
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
JUDGED_BY: Final = ("timezone", "timezone_source", "as_of", "valid_until", "model", "reason")
"""Fields of the timing record in the answer whether a moment is a good one."""
_LEFT_OUT: Final[Mapping[type[Prediction], frozenset[str]]] = {
    Plateaus: frozenset({*INTERNAL, "episodes"}),  # each is an answer
    Regressions: frozenset({*INTERNAL, "episodes"}),
    # What the caller has just said, and what `features` holds already.
    Struggle: frozenset(
        {
            *INTERNAL,
            *(
                "answered",
                "content_metadata",
                "organization_id",
                "predicted_at",
                "request_id",
                "requested_at",
            ),
            *("cognitive_load", "content_difficulty", "days_since_review", "prereq_mastery"),
            *("sentiment_trend", "similar_performance", "user_id"),
        }
    ),
}


def left_out(record: type[Prediction]) -> frozenset[str]:
    """Fields of a kind's records that answers do not have."""
    return _LEFT_OUT.get(record, frozenset(INTERNAL))


def text_of(moment: datetime | int | None) -> str | None:
    """A datetime, or ms since the epoch, as records write it: RFC 3339 in UTC, to the millisecond."""
    if moment is None:
        return None
    if isinstance(moment, int):
        return text(moment)
    return written(moment.astimezone(UTC))


def plain(record: Prediction) -> Answer:
    """A record in plain JSON types, without what answers leave out."""
    fields: Answer = msgspec.to_builtins(record)
    for name in left_out(type(record)):
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
    return plain(record)


def stored_struggle_answer(row: Fields) -> Answer:
    """Struggle prediction of its row in Postgres."""
    moments = {name: text_of(row[name]) for name in ("as_of", "valid_until")}
    stored = {**row, **moments, "features": row["prediction_features"]}
    return {name: stored[name] for name in Struggle.__struct_fields__ if name not in left_out(Struggle)}


def moment_answer(judged: TimeCheck, profile: TimingProfile, *, studied: bool) -> Answer:
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
        **{name: getattr(profile, name) for name in JUDGED_BY},
    }


def plateau_answers(
    records: Iterable[Plateaus], rows: Iterable[Fields], *, active_only: bool
) -> list[Answer]:
    """An object for each plateau episode of the records, active ones first, then the longest."""
    answers = [
        {"plateau_id": row.get("id"), **answer, "intervention_taken": row.get("intervention_taken", False)}
        for answer, row in _episodes(records, rows, active_only)
    ]
    return sorted(
        answers, key=lambda answer: (not answer["is_active"], -answer["days_on_topic"], answer["skill_id"])
    )


def regression_answers(
    records: Iterable[Regressions], rows: Iterable[Fields], *, active_only: bool
) -> list[Answer]:
    """An object for each regression episode of the records, active ones first, then the most urgent."""
    answers = [
        {
            "regression_id": row.get("id"),
            **answer,
            "reminder_sent": row.get("reminder_sent") or False,
            "reminder_sent_at": text_of(row.get("reminder_sent_at")),
            "user_reviewed": answer["user_reviewed"] or bool(row.get("user_reviewed")),
            "reviewed_at": text_of(row.get("reviewed_at")) or answer["resolved_at"],
        }
        for answer, row in _episodes(records, rows, active_only)
    ]
    return sorted(answers, key=_urgency)


def _urgency(regression: Fields) -> tuple[Any, ...]:
    level = LEVELS.index(regression["urgency"])
    return not regression["is_active"], -level, -regression["regression_amount"], regression["skill_id"]


def _episodes(
    records: Iterable[Plateaus] | Iterable[Regressions], rows: Iterable[Fields], active_only: bool
) -> Iterator[tuple[Answer, Fields]]:
    """An answer for each episode, and its row in Postgres ({} if there is none).

    Fields that a record has after its episode's (confidence, factors) are about the newest episode alone.
    """
    stored = {(row["skill_id"], row["detected_at"]): row for row in rows}
    for record in records:
        about, newest = plain(record), record.episodes[-1]
        names = record.__struct_fields__
        last = max(names.index(name) for name in newest.__struct_fields__)
        unsaid: Answer = {
            name: [] if isinstance(about[name], list) else None for name in names[last + 1 :] if name in about
        }
        for episode in record.episodes:
            if episode.is_active or not active_only:
                answer = about | msgspec.to_builtins(episode) | ({} if episode is newest else unsaid)
                key = record.skill_id, datetime.fromisoformat(episode.detected_at)
                yield answer, stored.get(key, {})
