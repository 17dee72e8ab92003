"""What a test sees of Kafka and Postgres, wherever they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lyo.tools.stack.local import default_home

JARS = default_home() / "jars"
"""Where a developer's stack keeps Kafka's jars, too."""


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
