"""The monitor's queries: the sink's offsets, the outbox, and learners who are overdue for a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import numpy as np

from lyo.models.arrays.zones import DAY
from lyo.models.predictions.records import VALID_FOR
from lyo.models.state.learner import LEARNER
from lyo.models.sweep import ACTIVE_FOR
from lyo.storage.database import plain_url
from lyo.storage.reads.stored_offsets import OFFSETS_SQL
from lyo.storage.sink.offsets import Place

CONNECT_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 5.0
SURVEY_SECONDS: Final = 60.0
CHUNK: Final = 50_000

_OUTBOX_SQL: Final = """
SELECT count(*) FILTER (WHERE error IS NULL) AS waiting,
       count(*) FILTER (WHERE error IS NOT NULL) AS refused,
       COALESCE(EXTRACT(EPOCH FROM now() - min(created_at) FILTER (WHERE error IS NULL)), 0)::float8 AS age
FROM outbox WHERE sent_at IS NULL
"""
_REVISION_SQL: Final = "SELECT version_num FROM alembic_version"


def _field(name: str) -> str:
    """SQL for eight bytes of a stored LEARNER row: they follow the layout's byte, and SQL counts from 1."""
    fields = LEARNER.fields
    assert fields is not None
    offset = fields[name][1]
    return f"substring(l.row FROM {offset + 2} FOR 8)"


# An active learner's prediction is sent again every day. Expired predictions are compared with the activity
# in the learner's row, as in `lyo.models.predictions.from_rows.overdue`.
_PAST_SQL: Final = f"""
SELECT {_field("last_session")} || {_field("last_completion")} AS active,
       (EXTRACT(EPOCH FROM d.valid_until) * 1000)::int8 AS valid_until
FROM dropout_risk_scores d JOIN learner_rows l USING (user_id)
WHERE d.valid_until < to_timestamp($1::float8 / 1000)
"""
_LEARNERS_SQL: Final = "SELECT count(*) FROM dropout_risk_scores"


@dataclass(frozen=True, slots=True)
class Outbox:
    """Waiting rows, rows that Kafka refused, and the age (s) of the oldest waiting row; 0: none waits."""

    waiting: int
    refused: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Survey:
    """Learners with a dropout prediction, and those of them who are due and not swept."""

    learners: int
    overdue: int


async def connect(database_url: str) -> Any:
    """A connection for a monitor.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError: Postgres cannot be reached, or refuses.
    """
    return await asyncpg.connect(
        plain_url(database_url),
        timeout=CONNECT_SECONDS,
        command_timeout=LOOK_SECONDS,
        server_settings={"application_name": "lyo monitor", "timezone": "UTC", "jit": "off"},
    )


async def stored(connection: Any) -> dict[Place, int]:
    """The next offset of each topic-partition that a sink has claimed."""
    rows = await connection.fetch(OFFSETS_SQL)
    return {Place(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def outbox(connection: Any) -> Outbox:
    """The state of the outbox."""
    row = await connection.fetchrow(_OUTBOX_SQL)
    return Outbox(row["waiting"], row["refused"], max(row["age"], 0.0))


async def revision(connection: Any) -> str | None:
    """The schema's revision; None if it was never migrated."""
    try:
        number: str | None = await connection.fetchval(_REVISION_SQL)
    except asyncpg.UndefinedTableError:
        return None
    return number


async def survey(connection: Any, now: int) -> Survey:
    """Count learners who were due before ``now`` (ms) and are not swept; reads all expired predictions."""
    learners = await connection.fetchval(_LEARNERS_SQL, timeout=SURVEY_SECONDS)
    overdue = 0
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        cursor = await connection.cursor(_PAST_SQL, float(now), timeout=SURVEY_SECONDS)
        while rows := await cursor.fetch(CHUNK, timeout=SURVEY_SECONDS):
            overdue += _overdue(rows)
    return Survey(learners, overdue)


def _overdue(rows: list[Any]) -> int:
    active = np.frombuffer(b"".join(row["active"] for row in rows), "<i8").reshape(-1, 2).max(axis=1)
    sent = np.array([row["valid_until"] for row in rows], np.int64) - VALID_FOR
    return int((active >= sent + DAY - ACTIVE_FOR).sum())
