"""A real Kafka and a real Postgres on this machine, without a container engine."""

from __future__ import annotations

from lyo.tools.stack.kafka import Listener, LocalKafka
from lyo.tools.stack.postgres import LocalPostgres
from lyo.tools.stack.server import StackError

__all__ = ["Listener", "LocalKafka", "LocalPostgres", "StackError"]
