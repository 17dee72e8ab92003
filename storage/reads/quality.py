"""Predictions and what came of them, as columns for `lyo.models.quality`; every statement of it is here.

Where rows can be many they are counted by what matters, or a sample of the learners is read: those whose
number by a hash is 0 modulo a step, so that it is the same ones each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import Zones, known
from lyo.models.quality import WINDOW, Moments
from lyo.models.state import layout
from lyo.models.state.learner import LEARNER, Rows
from lyo.storage.sink.outcomes import KEPT_TIMES
from lyo.storage.times import instant

SAMPLE: Final = 10_000
"""About how many learners are read of those figures that need their rows."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_STRUGGLE_SQL: Final = """
SELECT struggle_probability, actual_struggled, intervention_offered, intervention_accepted, should_offer_help,
       count(*) AS count
FROM struggle_predictions WHERE predicted_at > $1 OR actual_outcome_at > $1 GROUP BY 1, 2, 3, 4, 5
"""
# A row of the changelog's own is no learner.
_COVERAGE_SQL: Final = """
SELECT (SELECT count(*) FROM learner_rows) AS known,
       (SELECT count(*) FROM dropout_risk_scores d JOIN learner_rows USING (user_id)
        WHERE d.confidence > 0 AND d.valid_until >= $1) AS assessed
"""
_STRATEGY_SQL: Final = """
SELECT strategy_executed_at AS executed, returned_at AS returned
FROM dropout_risk_scores WHERE strategy_executed_at > $1
"""
_FLAGGED_SQL: Final = """
SELECT min(i.as_of) AS flagged, max(d.strategy_executed_at) AS executed
FROM interventions i LEFT JOIN dropout_risk_scores d USING (user_id)
WHERE i.type = 'emotional_support' AND i.audience = 'learner' AND i.as_of > $1 GROUP BY i.user_id
"""
_PLATEAU_SQL: Final = """
SELECT intervention_taken AS given, resolved AS engaged, count(*) AS count
FROM learning_plateaus WHERE NOT is_active AND ended_at > $1 GROUP BY 1, 2
"""
_REGRESSION_SQL: Final = """
SELECT reminder_sent AS given, user_reviewed AS engaged, count(*) AS count
FROM skill_regressions WHERE detected_at > $1 AND detected_at <= $2 GROUP BY 1, 2
"""
_CONFIDENCE_SQL: Final = """
SELECT 'dropout-risk' AS kind, confidence, count(*) AS count FROM dropout_risk_scores GROUP BY 2
UNION ALL SELECT 'timing', confidence, count(*) FROM user_timing_profiles GROUP BY 2
UNION ALL SELECT 'plateaus', confidence, count(*) FROM learning_plateaus WHERE is_active GROUP BY 2
UNION ALL SELECT 'regressions', confidence, count(*) FROM skill_regressions WHERE is_active GROUP BY 2
UNION ALL SELECT 'struggle', confidence, count(*) FROM struggle_predictions GROUP BY 2
"""
_TENANTS_SQL: Final = """
WITH felt AS (SELECT DISTINCT organization_id AS tenant FROM dropout_risk_scores
              WHERE sentiment_trend_7d IS NOT NULL),
     skilled AS (SELECT DISTINCT organization_id AS tenant FROM skill_rows),
     tenants AS (SELECT DISTINCT organization_id AS tenant FROM learner_rows
                 WHERE organization_id IS NOT NULL)
SELECT tenant, felt.tenant IS NULL AS without_sentiment, skilled.tenant IS NULL AS without_mastery
FROM tenants LEFT JOIN felt USING (tenant) LEFT JOIN skilled USING (tenant) ORDER BY tenant
"""
_LEARNERS_SQL: Final = """
SELECT l.user_id, l.row, p.peak_hours, p.performance_by_hour, p.timezone
FROM learner_rows l LEFT JOIN user_timing_profiles p USING (user_id)
WHERE mod(abs(hashint8(l.user_id)::int8), $1) = 0 ORDER BY l.user_id
"""
_TIMES_SQL: Final = """
SELECT user_id, kind, times FROM outcome_facts
WHERE kind IN ('nudge_sent', 'responded') AND user_id = ANY($1::int8[]) AND newest > $2
"""
_SIZE_SQL: Final = "SELECT greatest(reltuples, 0)::int8 FROM pg_class WHERE oid = 'learner_rows'::regclass"


class Struggles(NamedTuple):
    """Groups of predictions of struggle ``(n,)``; ``known`` says whether the outcome is."""

    probability: Floats
    known: Bools
    struggled: Bools
    offered: Bools
    accepted: Bools
    called_for: Bools
    weight: Ints


class Groups(NamedTuple):
    """Groups of episodes ``(n,)``: whether an intervention was given, and whether it was worked on again."""

    given: Bools
    engaged: Bools
    weight: Ints


class Sample(NamedTuple):
    """Some learners ``(n,)``: rows, peak hours ``(n, 24)``, scores by hour, zones, nudges and responses."""

    rows: Rows
    peak: Bools
    scores: Floats
    zones: Zones
    nudges: Moments
    responses: Moments


class Tenants(NamedTuple):
    """The tenants, and those of whom no sentiment or no skill is known."""

    known: int
    without_sentiment: list[int]
    without_mastery: list[int]


async def struggles(connection: Any, now: int) -> Struggles:
    """Predictions of struggle made or answered in the window before ``now`` (ms)."""
    rows = await connection.fetch(_STRUGGLE_SQL, instant(now - WINDOW))
    struggled = _column(rows, "actual_struggled")
    return Struggles(
        probability=np.array([row["struggle_probability"] for row in rows], float),
        known=np.array([value is not None for value in struggled], bool),
        struggled=_flags(struggled),
        offered=_flags(_column(rows, "intervention_offered")),
        accepted=_flags(_column(rows, "intervention_accepted")),
        called_for=_flags(_column(rows, "should_offer_help")),
        weight=_counts(rows),
    )


async def coverage(connection: Any, now: int) -> tuple[int, int]:
    """How many learners have a current dropout risk with a confidence, and how many are known."""
    row = await connection.fetchrow(_COVERAGE_SQL, instant(now))
    return row["assessed"], row["known"]


async def strategies(connection: Any, now: int) -> tuple[Ints, Ints]:
    """When strategies were executed, and when their learners returned (ms, -1 = not), of two windows."""
    rows = await connection.fetch(_STRATEGY_SQL, instant(now - 2 * WINDOW))
    return _times(rows, "executed"), _times(rows, "returned")


async def flagged(connection: Any, now: int) -> tuple[Ints, Ints]:
    """When each learner's risk was first found high in the window, and the newest strategy (ms, or -1)."""
    rows = await connection.fetch(_FLAGGED_SQL, instant(now - WINDOW))
    return _times(rows, "flagged"), _times(rows, "executed")


async def plateaus(connection: Any, now: int) -> Groups:
    """Plateaus that ended in the window: whether an intervention was taken, whether mastery moved."""
    return _groups(await connection.fetch(_PLATEAU_SQL, instant(now - WINDOW)))


async def regressions(connection: Any, now: int, within: int) -> Groups:
    """Regressions of the window that had ``within`` ms: was a reminder sent, was the skill reviewed?"""
    since, until = instant(now - within - WINDOW), instant(now - within)
    return _groups(await connection.fetch(_REGRESSION_SQL, since, until))


async def confidences(connection: Any) -> dict[str, tuple[Floats, Ints]]:
    """The confidence of the current predictions by kind, with how many have it."""
    rows = await connection.fetch(_CONFIDENCE_SQL)
    kinds = sorted({row["kind"] for row in rows})
    of = {kind: [row for row in rows if row["kind"] == kind] for kind in kinds}
    return {
        kind: (np.array([row["confidence"] for row in some], float), _counts(some))
        for kind, some in of.items()
    }


async def tenants(connection: Any) -> Tenants:
    """The tenants that learners belong to."""
    rows = await connection.fetch(_TENANTS_SQL)
    return Tenants(
        len(rows),
        [row["tenant"] for row in rows if row["without_sentiment"]],
        [row["tenant"] for row in rows if row["without_mastery"]],
    )


async def sample(connection: Any, now: int, most: int = SAMPLE) -> Sample:
    """About ``most`` learners with what is known of their hours and nudges.

    Raises:
        lyo.models.state.layout.LayoutError: a row that this version cannot read.
    """
    size = await connection.fetchval(_SIZE_SQL)
    rows = await connection.fetch(_LEARNERS_SQL, max(-(-int(size) // most), 1))
    users = [row["user_id"] for row in rows]
    facts = await connection.fetch(_TIMES_SQL, users, instant(now - 2 * WINDOW))
    return await asyncio.to_thread(_sample, rows, users, facts)


def _sample(rows: Sequence[Any], users: list[int], facts: Sequence[Any]) -> Sample:
    learners = layout.decode_learners([row["row"] for row in rows]) if rows else np.zeros(0, LEARNER)
    zones = [row["timezone"] or "UTC" for row in rows]
    return Sample(
        rows=learners,
        peak=_peaks(_column(rows, "peak_hours")),
        scores=_scores(_column(rows, "performance_by_hour")),
        zones=Zones([name if known(name) else "UTC" for name in zones]),
        nudges=_moments(users, facts, "nudge_sent"),
        responses=_moments(users, facts, "responded"),
    )


# ---------------------------------------------------------------- columns


def _column(rows: Sequence[Any], name: str) -> list[Any]:
    return [row[name] for row in rows]


def _flags(values: Sequence[bool | None]) -> Bools:
    return np.array([value is True for value in values], bool)


def _counts(rows: Sequence[Any]) -> Ints:
    return np.array([row["count"] for row in rows], np.int64)


def _milliseconds(at: datetime | None) -> int:
    return -1 if at is None else round(at.timestamp() * 1000)


def _times(rows: Sequence[Any], name: str) -> Ints:
    return np.array([_milliseconds(row[name]) for row in rows], np.int64)


def _groups(rows: Sequence[Any]) -> Groups:
    return Groups(_flags(_column(rows, "given")), _flags(_column(rows, "engaged")), _counts(rows))


def _peaks(hours: Sequence[Sequence[int] | None]) -> Bools:
    peak = np.zeros((len(hours), 24), bool)
    for place, some in enumerate(hours):
        peak[place, list(some or ())] = True
    return peak


def _scores(documents: Sequence[str | None]) -> Floats:
    scores = np.full((len(documents), 24), np.nan)
    for place, document in enumerate(documents):
        for hour, score in (msgspec.json.decode(document) or {} if document else {}).items():
            if score is not None:
                scores[place, int(hour)] = score
    return scores


def _moments(users: Sequence[int], facts: Sequence[Any], kind: str) -> Moments:
    """The times of facts of a kind; a full list of them says nothing of what was before its oldest."""
    place = {user: number for number, user in enumerate(users)}
    since = np.zeros(len(users), np.int64)
    who: list[int] = []
    at: list[int] = []
    for fact in facts:
        if fact["kind"] == kind:
            one, times = place[fact["user_id"]], [_milliseconds(time) for time in fact["times"]]
            if len(times) >= KEPT_TIMES:
                since[one] = max(since[one], min(times))
            who += [one] * len(times)
            at += times
    return Moments(np.array(who, np.int64), np.array(at, np.int64), since)
