"""SIGTERM ends a sink within 30 s, whatever of Kafka's clients does not come back."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lyo.storage.session import Session
from lyo.storage.sink.sink import Sink
from lyo.streams.settings import Settings
from tests.support.simulation.loop import SimLoop

LONGEST = 30.0


async def never(*_: Any) -> Any:
    await asyncio.Event().wait()


async def at_once(*_: Any) -> Any: ...


@pytest.mark.parametrize("hangs", ["connecting", "storing"])
def test_a_sink_is_stopped_in_time_while_kafka_is_away(
    loop: SimLoop, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    client = SimpleNamespace(stop=never, assignment=set)
    follower = SimpleNamespace(start=at_once, stop=at_once, partitions=[])
    monkeypatch.setattr(Session, "first", at_once)
    monkeypatch.setattr(Sink, "_create_follower", lambda _self: follower)
    monkeypatch.setattr(Sink, "_store_all", never)
    if hangs == "storing":

        async def subscribe(_self: Sink) -> Any:
            return client

        monkeypatch.setattr(Sink, "_subscribe", subscribe)
    else:
        monkeypatch.setattr("lyo.streams.kafka.clients.reach", never)

    async def story() -> float:
        sink = Sink(Settings())
        sink._refused._producer = client
        running = asyncio.create_task(sink.run())
        await asyncio.sleep(3)
        assert sink.started.is_set() == (hangs == "storing")
        asked = loop.time()
        sink.stop()
        await asyncio.wait_for(running, 1_000)
        return loop.time() - asked

    assert loop.run_until_complete(story()) <= LONGEST
