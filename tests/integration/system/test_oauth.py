"""Signing in at Kafka with tokens of an OpenID provider; a real broker checks them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lyo.predictive.client import Publisher
from lyo.streams import topic_admin
from lyo.streams.kafka import clients as kafka
from lyo.streams.kafka.clients import Unreachable
from lyo.streams.kafka.tokens import token_provider
from lyo.streams.settings import Settings
from tests.support.processes import lag, process, wait_for
from tests.support.servers.kinds import JARS
from tests.support.servers.oauth import CLIENT, CLIENT_SECRET, SCOPE, OauthKafka, Provider, provider

pytestmark = pytest.mark.integration

Environment = Callable[[Settings], dict[str, str]]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Provider, dict[str, Any]]]:
    """A provider, and the settings of a client of its broker."""
    folder = tmp_path_factory.mktemp("oauth")
    with (
        provider() as running,
        OauthKafka(folder, JARS, folder / "keys.json", running.issuer) as broker,
    ):
        yield (
            running,
            {
                "bootstrap_servers": broker.address("OAUTH"),
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "OAUTHBEARER",
                "sasl_username": CLIENT,
                "sasl_password": CLIENT_SECRET,
                "sasl_token_url": running.url,
                "sasl_scope": SCOPE,
                "partitions": 2,
            },
        )


async def _topics(settings: Settings) -> None:
    async with kafka.admin(settings) as admin:
        await admin.list_topics()


async def test_a_worker_and_a_publisher_sign_in_and_share_a_token(
    signed: tuple[Provider, dict[str, Any]], environment: Environment, tmp_path: Path
) -> None:
    running, arguments = signed
    settings = Settings(**arguments)
    await topic_admin.ensure(settings)
    before = running.given
    await asyncio.gather(*(_topics(settings) for _ in range(4)))
    assert running.given == before, "the token of the first client is still good"
    async with Publisher(settings=settings) as publisher:
        await publisher.session(event_id="s1", user_id=7, started_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    async with process("worker", environment(settings), tmp_path / "worker.log"):

        async def drained() -> bool:
            return await lag(settings) == 0

        await wait_for(drained, "the worker signed in and folded the session")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"sasl_password": "wrong-horse"},
            "LYO_SASL_TOKEN_URL refuses LYO_SASL_USERNAME or LYO_SASL_PASSWORD: invalid_client",
        ),
        ({"sasl_scope": "other"}, "LYO_SASL_TOKEN_URL refuses .*: invalid_scope"),
    ],
)
async def test_what_the_provider_refuses_is_named_at_once(
    signed: tuple[Provider, dict[str, Any]], change: dict[str, Any], named: str
) -> None:
    settings = Settings(**(signed[1] | {"connect_seconds": 3_600} | change))
    with pytest.raises(Unreachable, match=named) as refused:
        await kafka.reach(settings, lambda: _topics(settings))
    assert "wrong-horse" not in str(refused.value)


async def test_a_provider_that_is_away_is_waited_for_and_named(
    signed: tuple[Provider, dict[str, Any]],
) -> None:
    settings = Settings(**(signed[1] | {"connect_seconds": 0, "sasl_token_url": "http://127.0.0.1:9/token"}))
    with pytest.raises(Unreachable, match="LYO_SASL_TOKEN_URL gives no token"):
        await kafka.reach(settings, lambda: _topics(settings))


async def test_a_token_that_the_broker_refuses_is_explained(signed: tuple[Provider, dict[str, Any]]) -> None:
    running, arguments = signed
    running.audience = "somebody else"
    try:
        settings = Settings(**(arguments | {"connect_seconds": 30, "app_id": "other"}))
        with pytest.raises(
            Unreachable, match=r"does not accept the token \(LYO_SASL_TOKEN_URL\): .*invalid_token"
        ):
            await kafka.reach(settings, lambda: _topics(settings))
    finally:
        running.audience = "kafka"
        token_provider.cache_clear()
