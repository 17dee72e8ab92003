"""Servers that go away and come back, as faults of a storm."""

from __future__ import annotations

import asyncio
import random

from lyo.tools.stack import LocalKafka, LocalPostgres
from tests.support.faults.storm import Fault
from tests.support.servers.proxy import Proxy


def away(server: LocalKafka | LocalPostgres, seconds: float, *, violently: bool) -> Fault:
    """Stop a server in order, or kill it with -9, and start it again after so many seconds."""

    async def fault(_: random.Random) -> str:
        await outage(server, seconds, violently=violently)
        return f"for {seconds:g} s"

    return fault


async def outage(server: LocalKafka | LocalPostgres, seconds: float, *, violently: bool) -> None:
    """The same once."""
    await asyncio.to_thread(server.kill if violently else server.stop)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server.start)


def slow(proxy: Proxy, delay: float, seconds: float) -> Fault:
    """Hold every answer back for a while."""

    async def fault(_: random.Random) -> str:
        proxy.delay = delay
        try:
            await asyncio.sleep(seconds)
        finally:
            proxy.delay = 0.0
        return f"{delay:g} s more for each answer, for {seconds:g} s"

    return fault


def resetting(proxy: Proxy, times: int, every: float) -> Fault:
    """Break all connections several times."""

    async def fault(_: random.Random) -> str:
        broken = 0
        for _number in range(times):
            broken += proxy.reset()
            await asyncio.sleep(every)
        return f"{broken} connections broken"

    return fault
