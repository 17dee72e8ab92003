"""Outcomes: stored as facts, from which the outcome columns of the specification's tables are computed.

The columns are a pure function of the facts and the row. The same statements compute them when an outcome
arrives and when a row is written, so the order of the two does not matter. What came of contents, which
settles struggle predictions: `lyo.storage.sink.struggle_outcomes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lyo.models.events.decode import Kind, OutcomeKind, decode
from lyo.storage.sink import struggle_outcomes
from lyo.storage.times import instant

if TYPE_CHECKING:
    from lyo.storage.sink.records import Record

KEPT_TIMES: Final = 8
"""How many of a fact's newest times are kept: an ended episode keeps what was done about it."""

_SKILL: Final = frozenset({OutcomeKind.INTERVENTION_TAKEN, OutcomeKind.REMINDER_SENT, OutcomeKind.REVIEWED})
_LEARNER: Final = frozenset(
    {OutcomeKind.STRATEGY_EXECUTED, OutcomeKind.RETURNED, OutcomeKind.NUDGE_SENT, OutcomeKind.RESPONDED}
)

FACTS_SQL: Final = f"""
WITH n AS (
    SELECT user_id, kind, subject, organization_id, max(at) AS newest,
           (array_agg(event ORDER BY at DESC, event DESC))[1] AS event,
           (array_agg(DISTINCT at ORDER BY at DESC))[:{KEPT_TIMES}] AS times,
           max(log_partition) AS log_partition, max(log_offset) AS log_offset
    FROM unnest($1::int8[], $2::text[], $3::text[], $4::int8[], $5::timestamptz[], $6::int8[],
                $7::int4[], $8::int8[])
        AS r(user_id, kind, subject, organization_id, at, event, log_partition, log_offset)
    GROUP BY user_id, kind, subject, organization_id
)
INSERT INTO outcome_facts AS t
    (user_id, kind, subject, organization_id, newest, event, times, log_partition, log_offset)
SELECT user_id, kind, subject, organization_id, newest, event, times, log_partition, log_offset FROM n
ON CONFLICT (user_id, kind, subject, organization_id) DO UPDATE SET
    times = ARRAY(SELECT DISTINCT x FROM unnest(t.times || excluded.times) AS x
                  ORDER BY x DESC LIMIT {KEPT_TIMES}),
    event = CASE WHEN (excluded.newest, excluded.event) > (t.newest, t.event)
                 THEN excluded.event ELSE t.event END,
    newest = greatest(t.newest, excluded.newest),
    log_partition = excluded.log_partition,
    log_offset = greatest(t.log_offset, excluded.log_offset)
"""

# Nudges and responses set no column: `lyo.storage.reads.quality` computes figures from them.
WITH_FACTS_SQL: Final = """
SELECT DISTINCT user_id FROM outcome_facts
WHERE user_id = ANY($1::int8[]) AND kind NOT IN ('nudge_sent', 'responded')
"""

SAME_TENANT: Final = "f.organization_id IN (0, coalesce(r.organization_id, f.organization_id))"
"""Condition on a fact `f`: one of another organization than the row's does not belong to the row `r`."""

# The facts of each row are aggregated in a LATERAL subquery, which must use the index. A join would be
# planned without statistics when the first events arrive, and compare all rows with all facts.
_DROPOUT_SQL: Final = f"""
UPDATE dropout_risk_scores t
SET strategy_executed = d.executed_at IS NOT NULL, strategy_executed_at = d.executed_at,
    user_returned = CASE WHEN d.returned_at IS NOT NULL THEN true END, returned_at = d.returned_at
FROM dropout_risk_scores r CROSS JOIN LATERAL (
    SELECT executed_at,
        -- Someone who came back before the newest strategy has not yet come back because of it.
        CASE WHEN executed_at IS NULL OR returned_at >= executed_at THEN returned_at END AS returned_at
    FROM (
        SELECT max(f.newest) FILTER (WHERE f.kind = 'strategy_executed') AS executed_at,
            max(f.newest) FILTER (WHERE f.kind = 'returned') AS returned_at
        FROM outcome_facts f
        WHERE f.user_id = r.user_id AND f.subject = ''
            AND f.kind IN ('strategy_executed', 'returned') AND {SAME_TENANT}
    ) AS newest
) d
WHERE r.user_id = ANY($1::int8[]) AND t.id = r.id
  AND (t.strategy_executed, t.strategy_executed_at, t.user_returned, t.returned_at)
    IS DISTINCT FROM (d.executed_at IS NOT NULL, d.executed_at,
                      CASE WHEN d.returned_at IS NOT NULL THEN true END, d.returned_at)
"""


def _episodes(table: str, kinds: str, columns: str) -> str:
    """The facts of each episode: those from its detection to the detection of the next one."""
    return f"""(
        SELECT *, coalesce(lead(detected_at) OVER (PARTITION BY user_id, skill_id ORDER BY detected_at),
                           'infinity') AS next_at
        FROM {table} WHERE user_id = ANY($1::int8[])
    ) r
    CROSS JOIN LATERAL (
        SELECT {columns}
        FROM outcome_facts f, unnest(f.times) AS fact(at)
        WHERE f.user_id = r.user_id AND f.subject = r.skill_id AND f.kind IN ({kinds}) AND {SAME_TENANT}
          AND fact.at >= r.detected_at AND fact.at < r.next_at
    ) d"""


_PLATEAU_SQL: Final = f"""
UPDATE learning_plateaus t SET intervention_taken = d.taken
FROM {_episodes("learning_plateaus", "'intervention_taken'", "count(f.kind) > 0 AS taken")}
WHERE t.id = r.id AND t.intervention_taken IS DISTINCT FROM d.taken
"""

_REGRESSION_TIMES: Final = (
    "max(fact.at) FILTER (WHERE f.kind = 'reminder_sent') AS reminded_at, "
    "max(fact.at) FILTER (WHERE f.kind = 'reviewed') AS reviewed_at"
)
_REGRESSION_SQL: Final = f"""
UPDATE skill_regressions t
SET reminder_sent = d.reminded_at IS NOT NULL, reminder_sent_at = d.reminded_at,
    user_reviewed = t.practised_again OR d.reviewed_at IS NOT NULL,
    reviewed_at = coalesce(d.reviewed_at, CASE WHEN t.practised_again THEN t.resolved_at END)
FROM {_episodes("skill_regressions", "'reminder_sent', 'reviewed'", _REGRESSION_TIMES)}
WHERE t.id = r.id AND (t.reminder_sent, t.reminder_sent_at, t.user_reviewed, t.reviewed_at)
    IS DISTINCT FROM (d.reminded_at IS NOT NULL, d.reminded_at,
                      t.practised_again OR d.reviewed_at IS NOT NULL,
                      coalesce(d.reviewed_at, CASE WHEN t.practised_again THEN t.resolved_at END))
"""

DERIVE_SQL: Final = (_DROPOUT_SQL, _PLATEAU_SQL, _REGRESSION_SQL)
"""The outcome columns of the users in $1, written where they differ."""


class Told(NamedTuple):
    """What outcome records say: facts of learners and skills, and what came of contents."""

    facts: list[tuple[Any, ...]]
    of_contents: list[tuple[Any, ...]]


def subject(kind: OutcomeKind, skill_id: str | None) -> str | None:
    """The subject of a fact of this kind; None if it sets no column or has no subject."""
    return skill_id if kind in _SKILL else "" if kind in _LEARNER else None


def facts(records: Sequence[Record]) -> Told:
    """What outcome records say, each a tuple of the arguments of `FACTS_SQL` or `struggle_outcomes.ADD_SQL`.

    Records that the contract refuses are left out: the worker reads them too and writes the dead letters.
    """
    columns, _ = decode(
        Kind.OUTCOME, [r.key for r in records], [r.value for r in records], [r.timestamp for r in records]
    )
    told = Told([], [])
    for index, event, at, event_id in zip(
        columns.index.tolist(), columns.rows, columns.at.tolist(), columns.id.tolist(), strict=True
    ):
        record, tenant, moment = records[index], event.organization_id or 0, instant(at)
        place = (record.partition, record.offset)
        if event.kind in struggle_outcomes.KINDS:
            if event.content_id is not None:
                kind, seconds, gave_up = struggle_outcomes.of_event(event)
                of_content = (event.user_id, event.content_id, tenant, kind, moment, event_id)
                told.of_contents.append((*of_content, seconds, gave_up, *place))
            continue
        about = subject(event.kind, event.skill_id)
        if about is not None:
            told.facts.append((event.user_id, event.kind.value, about, tenant, moment, event_id, *place))
    return told


async def write_facts(connection: Any, new: Sequence[tuple[Any, ...]]) -> set[int]:
    """Store facts; gives their users."""
    if new:
        await connection.execute(FACTS_SQL, *map(list, zip(*new, strict=True)))
    return {fact[0] for fact in new}


async def derive(connection: Any, users: Iterable[int]) -> None:
    """Compute the outcome columns of these users' rows from the facts."""
    touched = list(users)
    if not touched:
        return
    rows = await connection.fetch(WITH_FACTS_SQL, touched)
    with_facts = [row["user_id"] for row in rows]
    if with_facts:
        for statement in DERIVE_SQL:
            await connection.execute(statement, with_facts)
