"""Columns and indexes that several tables share."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    false,
    func,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

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
