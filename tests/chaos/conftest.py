"""Faults that take minutes: `make chaos`, `make faults`, `make soak`; `make test` does not collect them."""

from __future__ import annotations

import os
import secrets

import pytest

from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka, LocalPostgres


@pytest.fixture
def minutes() -> float:
    """How long a storm may take, all in all (CHAOS_MINUTES)."""
    return float(os.environ.get("CHAOS_MINUTES") or 10)


@pytest.fixture
def seed() -> int:
    """The seed of the faults (CHAOS_SEED); told so that a run can be repeated."""
    given = os.environ.get("CHAOS_SEED")
    chosen = int(given) if given else secrets.randbelow(1_000_000)
    print(f"\nCHAOS_SEED={chosen}")
    return chosen


@pytest.fixture
def own_settings(own_kafka: LocalKafka, own_postgres: LocalPostgres) -> Settings:
    """Settings for servers of this test alone, with sessions short enough for many faults."""
    return Settings(
        bootstrap_servers=own_kafka.bootstrap_servers,
        database_url=own_postgres.database_url,
        session_timeout_ms=2_500,
        transaction_timeout_ms=6_000,
    )
