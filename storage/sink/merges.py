"""The SQL that writes predictions: one statement per table, with the records' JSON as its argument.

Postgres reads the fields from the JSON (`json_to_recordset`), so for each record the sink only joins bytes.
MERGE takes an identity value for new rows only; INSERT .. ON CONFLICT would take one for every row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, get_args

from msgspec import structs
from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

from lyo.models.predictions.kinds import KINDS, PredictionKind
from lyo.storage.schema import tables
from lyo.storage.schema.prediction_tables import TABLES
from lyo.storage.sink.records import BY_INTERVENTION

_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]
_LOG: Final = ("log_partition", "log_offset")


@dataclass(frozen=True, slots=True)
class Plan:
    """How the records of one prediction topic become rows of one table.

    Attributes:
        table: the table.
        subject: the part of the key beside the user.
        key: the columns of the table's UNIQUE constraint.
        derived: columns that are computed from outcomes, never from the record.
        computed: columns with an expression over the record (`n`) instead of the field of the same name.
        fields: fields of the record without a column, with their types, for those expressions.
        episode: columns that come from the elements of the record's `episodes`; empty: one row per record.
    """

    table: Table
    subject: str
    key: tuple[str, ...]
    derived: frozenset[str] = frozenset()
    computed: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    episode: frozenset[str] = frozenset()

    @property
    def written(self) -> list[str]:
        """The columns that a record writes, in the table's order."""
        return [column.name for column in self.table.columns if column.name not in {"id", *self.derived}]


# Columns that are not fields of the record, or that older records lack, by kind.
_COMPUTED: Final[dict[str, dict[str, str]]] = {
    "struggle": {
        "prediction_features": "n.features",
        "predicted_at": "coalesce(n.predicted_at, n.as_of)",
        "content_type": "coalesce(n.content_type, '')",
        "request_id": "coalesce(n.request_id, '')",
    },
    "dropout-risk": {
        "calculated_at": "coalesce(n.calculated_at, n.as_of)",
        "updated_at": "coalesce(n.updated_at, n.calculated_at, n.as_of)",
    },
    "timing": {
        "sessions_analyzed": "coalesce(n.sessions_analyzed, 0)",
        "created_at": "coalesce(n.created_at, n.updated_at, n.as_of)",
        "updated_at": "coalesce(n.updated_at, n.as_of)",
    },
    "plateaus": {
        "is_active": "coalesce(n.is_active, true)",
        "resolved": "coalesce(n.resolved, false)",
        "updated_at": "coalesce(n.updated_at, n.as_of)",
    },
    "regressions": {
        "is_active": "coalesce(n.is_active, true)",
        "practised_again": "coalesce(n.user_reviewed, false)",
        "user_reviewed": "coalesce(n.user_reviewed, false)",
        # At first the time of the next practice; outcomes may give another time.
        "reviewed_at": "CASE WHEN n.user_reviewed THEN n.resolved_at END",
    },
}
_FIELDS: Final = {"struggle": {"features": "jsonb"}}
# A row for each question: a topic keeps the newest of a content, the table its history.
_EACH: Final = {"struggle": ("request_id",)}


def _plan(kind: PredictionKind) -> Plan:
    """A kind's plan, from its record's fields and its table's columns."""
    table, fields = TABLES[kind.name], {field.name: field.type for field in structs.fields(kind.record)}
    columns, computed = set(table.columns.keys()), _COMPUTED.get(kind.name, {})
    episode: set[str] = set()
    if "episodes" in fields:
        (of_episode,) = get_args(get_args(fields["episodes"])[0])
        episode = columns & set(of_episode.__struct_fields__)
    subject = (kind.subject,) if kind.subject else ()
    return Plan(
        table,
        kind.subject,
        ("user_id", *subject, *_EACH.get(kind.name, ()), *(("detected_at",) if episode else ())),
        derived=frozenset(columns - fields.keys() - computed.keys() - {"id", *_LOG}),
        computed=computed,
        fields=_FIELDS.get(kind.name, {}),
        episode=frozenset(episode),
    )


PLANS: Final = {kind.name: _plan(kind) for kind in KINDS}
"""By kind of prediction."""

INTERVENTIONS: Final = Plan(tables.interventions, BY_INTERVENTION, ("user_id", "intervention_id"))
"""Of the interventions topic."""


def _kind(column: Column[Any]) -> str:
    return str(column.type.compile(dialect=_DIALECT))


def _definitions(plan: Plan, *, of_episode: bool) -> dict[str, str]:
    """The fields to read from the record, or from one of its episodes, with their types."""
    fields = {
        column.name: _kind(column)
        for column in plan.table.columns
        if column.name not in {"id", *_LOG, *plan.derived} and (column.name in plan.episode) == of_episode
    }
    return fields if of_episode else fields | plan.fields


def fields_of(plan: Plan) -> str:
    """The fields to read from a record without episodes, as a column definition list."""
    return _listed(_definitions(plan, of_episode=False))


def _listed(fields: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in fields.items())


def _source(plan: Plan) -> str:
    """The rows of a batch. $1: the records as one JSON array; $2 and $3: their partitions and offsets."""
    outer = _definitions(plan, of_episode=False)
    if plan.episode:
        outer["episodes"] = "json"
    names = ", ".join([*outer, *_LOG])
    rows = (
        f"ROWS FROM (json_to_recordset($1::json) AS ({_listed(outer)}), "
        f"unnest($2::int4[]), unnest($3::int8[])) AS r({names})"
    )
    if not plan.episode:
        return f"SELECT * FROM {rows}"
    inner = _definitions(plan, of_episode=True)
    chosen = ", ".join([*(f"r.{name}" for name in [*outer, *_LOG]), *(f"e.{name}" for name in inner)])
    return f"SELECT {chosen} FROM {rows}, LATERAL json_to_recordset(r.episodes) AS e({_listed(inner)})"


def merge_sql(plan: Plan) -> str:
    """The statement that writes a batch; it keeps a row that is newer in the same partition."""
    match = " AND ".join(f"t.{name} = {plan.computed.get(name, f'n.{name}')}" for name in plan.key)
    values = {name: plan.computed.get(name, f"n.{name}") for name in plan.written}
    updates = ", ".join(f"{name} = {value}" for name, value in values.items() if name not in plan.key)
    return (
        f"MERGE INTO {plan.table.name} t USING ({_source(plan)}) n ON {match} "
        "WHEN MATCHED AND (t.log_partition IS DISTINCT FROM n.log_partition OR t.log_offset < n.log_offset) "
        f"THEN UPDATE SET {updates} "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(values)}) VALUES ({', '.join(values.values())})"
    )


def delete_sql(plan: Plan) -> str:
    """The statement that deletes the rows of tombstones, and the episodes that a newer record lacks.

    It writes the removed rows to `removed_rows` for the subscribers. $1: users; $2: skills or contents; $3
    and $4: the records' partitions and offsets; $5: their topic.
    """
    about = f" AND t.{plan.subject} = k.subject" if plan.subject else ""
    key = ", ".join(f"'{name}', t.{name}" for name in (*plan.key, "id"))
    return (
        f"WITH gone AS (DELETE FROM {plan.table.name} t "
        "USING unnest($1::int8[], $2::text[], $3::int4[], $4::int8[]) "
        "AS k(user_id, subject, log_partition, log_offset) "
        f"WHERE t.user_id = k.user_id{about} "
        "AND (t.log_partition IS DISTINCT FROM k.log_partition OR t.log_offset < k.log_offset) "
        f"RETURNING t.user_id, t.organization_id, jsonb_build_object({key}) AS key, "
        "k.log_partition, k.log_offset) "
        "INSERT INTO removed_rows (topic, user_id, organization_id, key, log_partition, log_offset) "
        "SELECT $5::text, * FROM gone ORDER BY log_partition, log_offset"
    )
