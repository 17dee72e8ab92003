"""Columns and indexes that several tables share."""

from __future__ import annotations

from typing import Any, Final

from msgspec import inspect, structs
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from lyo.models.predictions.types import Prediction

metadata: Final = MetaData()

Instant: Final = TIMESTAMP(timezone=True)


def learner_key() -> list[Column[Any]]:
    """The row's number and its learner. The API hands out `id`, so an upsert must not use numbers up."""
    return [
        Column("id", BigInteger, Identity(), nullable=False),
        Column("user_id", BigInteger, nullable=False),
        Column("organization_id", BigInteger),
    ]


def required(name: str, kind: Any) -> Column[Any]:
    """A column that is never null."""
    return Column(name, kind, nullable=False)


def log_place() -> list[Column[Any]]:
    """The record's place in its topic; null until a row that the API wrote comes back through Kafka."""
    return [Column("log_partition", Integer), Column("log_offset", BigInteger)]


def provenance() -> list[Column[Any]]:
    """The prediction's inputs, its model and its reason."""
    return [
        required("prediction_id", String(32)),
        Column("version", BigInteger),
        required("as_of", Instant),
        Column("valid_until", Instant),
        required("model", String(100)),
        Column("catalogue_revision", String(32)),
        Column("reason", Text),
        Column("factors", JSONB),
        *log_place(),
    ]


def log_index(table: str) -> Index:
    """The index for subscribers, who read a partition's rows after an offset in order."""
    return Index(f"ix_{table}_log", "log_partition", "log_offset", "id")


def flag(name: str, *, default: bool = False) -> Column[Any]:
    """A truth value with a default."""
    return Column(name, Boolean, server_default=true() if default else false())


def defaults_to_now(name: str) -> Column[Any]:
    """A time that is the transaction's unless given."""
    return Column(name, Instant, server_default=func.now())


def newest_wins(field: str) -> list[Column[Any]]:
    """Time and event (48-bit hash) of the newest value of `field`, so that the newest wins in any order."""
    return [Column(f"{field}_at", Instant), Column(f"{field}_event", BigInteger)]


def table_of(name: str, record: type[Prediction], subject: str) -> Table:
    """The table of a kind of prediction: a column for each field that the head and the reasons lack.

    Args:
        name: the table's.
        record: the kind's; a column may be null where its field may.
        subject: what a row is about beside the learner; "": the learner alone.
    """
    shared = {column.name for column in (*learner_key(), *provenance())}
    fields = [field for field in structs.fields(record) if field.name not in shared]
    unique = ("user_id", subject) if subject else ("user_id",)
    return Table(
        name,
        metadata,
        *learner_key(),
        *(_column(field.name, inspect.type_info(field.type)) for field in fields),
        *provenance(),
        PrimaryKeyConstraint("id", name=f"pk_{name}"),
        UniqueConstraint(*unique, name=f"uq_{name}_{'_'.join(unique)}"),
        log_index(name),
    )


def _column(name: str, said: inspect.Type) -> Column[Any]:
    schema: dict[str, Any] = {}
    while isinstance(said, inspect.Metadata):
        schema, said = schema | (said.extra_json_schema or {}), said.type
    if isinstance(said, inspect.UnionType):
        (said,) = (part for part in said.types if not isinstance(part, inspect.NoneType))
        found = _column(name, said)
        return Column(name, Instant if schema.get("format") == "date-time" else found.type)
    if schema.get("format") == "date-time":
        return required(name, Instant)
    if isinstance(said, inspect.StrType):
        return required(name, String(said.max_length) if said.max_length else Text)
    kinds = {inspect.IntType: BigInteger, inspect.FloatType: Double, inspect.BoolType: Boolean}
    return required(name, kinds.get(type(said), JSONB))
