"""What a test sees of Kafka and Postgres, wherever they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """A running Kafka."""

    bootstrap_servers: str


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running Postgres; `create_database` returns the new one's address."""

    database_url: str
    create_database: Callable[[str], str]
    drop_database: Callable[[str], None]
