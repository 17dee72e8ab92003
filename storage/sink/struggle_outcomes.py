"""What came of contents: stored one by one, and joined to the struggle prediction that it settles.

An outcome settles the newest question about its content that was asked before it. Asking again begins a new
row, and the older one keeps what came of it. The columns are a pure function of the outcomes and the
questions: the same statement computes them when either arrives.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from lyo.models.events.types import Outcome, OutcomeKind

KINDS: Final = frozenset(
    {
        OutcomeKind.STRUGGLED,
        OutcomeKind.NOT_STRUGGLED,
        OutcomeKind.HELP_OFFERED,
        OutcomeKind.HELP_ACCEPTED,
        OutcomeKind.HELP_DECLINED,
    }
)
"""Outcomes about a content."""

_SETTLING: Final = (OutcomeKind.STRUGGLED, OutcomeKind.NOT_STRUGGLED)

ADD_SQL: Final = """
INSERT INTO content_outcomes (user_id, content_id, organization_id, kind, occurred_at, event,
                              completion_time_seconds, gave_up, log_partition, log_offset)
SELECT * FROM unnest($1::int8[], $2::text[], $3::int8[], $4::text[], $5::timestamptz[], $6::int8[],
                     $7::float8[], $8::bool[], $9::int4[], $10::int8[])
ON CONFLICT DO NOTHING
"""

# The outcomes of each row are aggregated in a LATERAL subquery, which must use the index. A join would be
# planned without statistics when the first events arrive, and compare all rows with all outcomes.
DERIVE_SQL: Final = """
UPDATE struggle_predictions t
SET actual_struggled = d.outcome ->> 'kind' = 'struggled', actual_outcome_at = d.outcome_at,
    completion_time_seconds = (d.outcome ->> 'seconds')::float8, gave_up = (d.outcome ->> 'gave_up')::bool,
    intervention_offered = d.offered, intervention_accepted = d.accepted
FROM unnest($1::int8[], $2::text[]) AS k(user_id, content_id)
CROSS JOIN LATERAL (
    SELECT id, user_id, content_id, organization_id, coalesce(requested_at, '-infinity') AS asked_at,
        coalesce(lead(requested_at) OVER (ORDER BY requested_at NULLS FIRST, request_id), 'infinity')
            AS asked_again_at
    FROM struggle_predictions q WHERE q.user_id = k.user_id AND q.content_id = k.content_id
) r
CROSS JOIN LATERAL (
    SELECT
        (array_agg(json_build_object('kind', f.kind, 'seconds', f.completion_time_seconds,
                                     'gave_up', f.gave_up) ORDER BY f.occurred_at DESC, f.event DESC)
            FILTER (WHERE f.kind IN ('struggled', 'not_struggled')))[1] AS outcome,
        max(f.occurred_at) FILTER (WHERE f.kind IN ('struggled', 'not_struggled')) AS outcome_at,
        count(f.kind) FILTER (WHERE f.kind LIKE 'help%') > 0 AS offered,
        (array_agg(f.kind = 'help_accepted' ORDER BY f.occurred_at DESC, f.event DESC)
            FILTER (WHERE f.kind IN ('help_accepted', 'help_declined')))[1] AS accepted
    FROM content_outcomes f
    WHERE f.user_id = r.user_id AND f.content_id = r.content_id
        AND f.occurred_at >= r.asked_at AND f.occurred_at < r.asked_again_at
        AND f.organization_id IN (0, coalesce(r.organization_id, f.organization_id))
) d
WHERE t.id = r.id
  AND (t.actual_struggled, t.actual_outcome_at, t.completion_time_seconds, t.gave_up,
       t.intervention_offered, t.intervention_accepted)
      IS DISTINCT FROM (d.outcome ->> 'kind' = 'struggled', d.outcome_at,
                        (d.outcome ->> 'seconds')::float8, (d.outcome ->> 'gave_up')::bool,
                        d.offered, d.accepted)
"""
"""The outcome columns of all questions of learners $1 about contents $2, written where they differ."""


def of_event(event: Outcome) -> tuple[str, float | None, bool | None]:
    """Kind, completion time in seconds and whether the learner gave up, as they count.

    Giving up is a struggle, whatever else is said of it. Only what settles a question has a time.
    """
    if event.kind not in _SETTLING:
        return event.kind.value, None, None
    kind = OutcomeKind.STRUGGLED if event.gave_up else event.kind
    return kind.value, event.completion_time_seconds, event.gave_up


async def write(connection: Any, new: Sequence[tuple[Any, ...]]) -> set[tuple[int, str]]:
    """Store outcomes, each once; gives their learners and contents."""
    if new:
        await connection.execute(ADD_SQL, *map(list, zip(*new, strict=True)))
    return {(outcome[0], outcome[1]) for outcome in new}


async def derive(connection: Any, answered: Collection[tuple[int, str]]) -> None:
    """Compute the outcome columns of the questions of these learners about these contents."""
    if answered:
        await connection.execute(DERIVE_SQL, *map(list, zip(*sorted(answered), strict=True)))
