"""Predictions and their outcomes as columns for `lyo.models.quality`, and the queries that read them.

Many rows are counted in groups, or a sample of the learners is read: those whose hashed id is 0 modulo a
step, so that the sample is the same each time.
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
from lyo.models.state.struggles import SLOW_SHARE, STRUGGLE_UNIT, TIMED_LEAST
from lyo.storage.sink.outcomes import KEPT_TIMES
from lyo.storage.times import instant

SAMPLE: Final = 10_000
"""The approximate size of the sample for figures that need the learners' rows."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_SLOW: Final = SLOW_SHARE / STRUGGLE_UNIT
# Probability: what the learner was told when asking. The answer goes on changing, also with what it was to
# foretell. Struggled: a success that took longer than the content usually takes counts as on completions
# (`lyo.models.state.struggles`), with the usual time of all learners, the median.
_STRUGGLE_SQL: Final = f"""
WITH asked AS (SELECT * FROM struggle_predictions WHERE predicted_at > $1 OR actual_outcome_at > $1),
usual AS (
    SELECT content_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY completion_time_seconds) AS seconds
    FROM content_outcomes
    WHERE completion_time_seconds > 0 AND content_id IN (SELECT content_id FROM asked)
    GROUP BY content_id HAVING count(*) >= {TIMED_LEAST}
)
SELECT coalesce((answered ->> 'probability')::float8, struggle_probability) AS struggle_probability,
       CASE WHEN actual_struggled THEN 1 WHEN NOT actual_struggled THEN coalesce(round(
           least(greatest({_SLOW} * (completion_time_seconds / seconds - 1), 0), {_SLOW})::numeric, 2), 0)
       END AS struggled,
       intervention_offered, intervention_accepted, should_offer_help, count(*) AS count
FROM asked LEFT JOIN usual USING (content_id) GROUP BY 1, 2, 3, 4, 5
"""
# Only learners with a row count: the changelog's own records have none.
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
UNION ALL SELECT 'struggle', confidence, count(*) FROM struggle_predictions t
WHERE NOT EXISTS (SELECT 1 FROM struggle_predictions n WHERE n.user_id = t.user_id
    AND n.content_id = t.content_id AND n.requested_at > t.requested_at) GROUP BY 2
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
    """Groups of struggle predictions ``(n,)``; ``known``: whether the outcome is known.

    ``struggled``: 1 for a struggle, up to a quarter for a slow success; 0 where it is not known.
    """

    probability: Floats
    known: Bools
    struggled: Floats
    offered: Bools
    accepted: Bools
    called_for: Bools
    weight: Ints


class Groups(NamedTuple):
    """Groups of episodes ``(n,)``: whether an intervention was given, and whether the learner engaged."""

    given: Bools
    engaged: Bools
    weight: Ints


class Sample(NamedTuple):
    """Some learners ``(n,)``: rows, peak hours ``(n, 24)``, scores by hour, zones, nudges, responses."""

    rows: Rows
    peak: Bools
    scores: Floats
    zones: Zones
    nudges: Moments
    responses: Moments


class Tenants(NamedTuple):
    """How many tenants there are, and those without any sentiment or skill."""

    known: int
    without_sentiment: list[int]
    without_mastery: list[int]


async def struggles(connection: Any, now: int) -> Struggles:
    """Predictions of struggle made or answered in the window before ``now`` (ms)."""
    rows = await connection.fetch(_STRUGGLE_SQL, instant(now - WINDOW))
    struggled = _column(rows, "struggled")
    return Struggles(
        probability=np.array([row["struggle_probability"] for row in rows], float),
        known=np.array([value is not None for value in struggled], bool),
        struggled=np.array([float(value or 0) for value in struggled], float),
        offered=_flags(_column(rows, "intervention_offered")),
        accepted=_flags(_column(rows, "intervention_accepted")),
        called_for=_flags(_column(rows, "should_offer_help")),
        weight=_counts(rows),
    )


async def coverage(connection: Any, now: int) -> tuple[int, int]:
    """How many learners have a current dropout risk with confidence, and how many learners there are."""
    row = await connection.fetchrow(_COVERAGE_SQL, instant(now))
    return row["assessed"], row["known"]


async def strategies(connection: Any, now: int) -> tuple[Ints, Ints]:
    """Times of executed strategies and of their learners' returns (ms; -1: none), of two windows."""
    rows = await connection.fetch(_STRATEGY_SQL, instant(now - 2 * WINDOW))
    return _times(rows, "executed"), _times(rows, "returned")


async def flagged(connection: Any, now: int) -> tuple[Ints, Ints]:
    """Times of each learner's first high risk in the window and of the newest strategy (ms; -1: none)."""
    rows = await connection.fetch(_FLAGGED_SQL, instant(now - WINDOW))
    return _times(rows, "flagged"), _times(rows, "executed")


async def plateaus(connection: Any, now: int) -> Groups:
    """Plateaus that ended in the window: whether an intervention was taken, whether mastery improved."""
    return _groups(await connection.fetch(_PLATEAU_SQL, instant(now - WINDOW)))


async def regressions(connection: Any, now: int, within: int) -> Groups:
    """Regressions of the window that are ``within`` ms old: was a reminder sent, was the skill reviewed?"""
    since, until = instant(now - within - WINDOW), instant(now - within)
    return _groups(await connection.fetch(_REGRESSION_SQL, since, until))


async def confidences(connection: Any) -> dict[str, tuple[Floats, Ints]]:
    """Confidences of the current predictions by kind, each with its number of predictions."""
    rows = await connection.fetch(_CONFIDENCE_SQL)
    kinds = sorted({row["kind"] for row in rows})
    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in kinds}
    return {
        kind: (np.array([row["confidence"] for row in of_kind], float), _counts(of_kind))
        for kind, of_kind in by_kind.items()
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
    """About ``most`` learners with their hours and nudges.

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
    for place, of_learner in enumerate(hours):
        peak[place, list(of_learner or ())] = True
    return peak


def _scores(documents: Sequence[str | None]) -> Floats:
    scores = np.full((len(documents), 24), np.nan)
    for place, document in enumerate(documents):
        for hour, score in (msgspec.json.decode(document) or {} if document else {}).items():
            if score is not None:
                scores[place, int(hour)] = score
    return scores


def _moments(users: Sequence[int], facts: Sequence[Any], kind: str) -> Moments:
    """Times of the facts of a kind. Before the oldest time of a full list, nothing is known."""
    place = {user: number for number, user in enumerate(users)}
    since = np.zeros(len(users), np.int64)
    who: list[int] = []
    at: list[int] = []
    for fact in facts:
        if fact["kind"] == kind:
            learner, times = place[fact["user_id"]], [_milliseconds(time) for time in fact["times"]]
            if len(times) >= KEPT_TIMES:
                since[learner] = max(since[learner], min(times))
            who += [learner] * len(times)
            at += times
    return Moments(np.array(who, np.int64), np.array(at, np.int64), since)
