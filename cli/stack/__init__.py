"""A real Kafka and a real Postgres on this machine, without a container engine."""

from __future__ import annotations

from cli.stack.kafka import Listener, LocalKafka
from cli.stack.postgres import LocalPostgres
from cli.stack.server import StackError

__all__ = ["Listener", "LocalKafka", "LocalPostgres", "StackError"]
