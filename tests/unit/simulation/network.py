"""Requests between simulated processes and servers: slow, lost, answered too late, or cut off by an outage."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.unit.simulation.loop import Process, SimLoop


@dataclass
class Faults:
    """How often what goes wrong; each seed has its own mixture, some of them none of a kind."""

    lost_requests: float = 0.0
    lost_answers: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 1.0
    lost_polls: float = 0.0
    lost_acknowledgements: float = 0.0
    compaction: float = 0.0


class Server:
    """Something that is reached over the network and may be away."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.down = False


class Link:
    """One connection: what is sent through it arrives in its order, or not at all."""

    def __init__(self, network: Network, process: Process, server: Server, error: Callable[[], Exception]):
        self.network = network
        self.process = process
        self.server = server
        self.error = error
        self.last = 0.0
        process.serial += 1
        self.random = random.Random(f"{network.seed}-{process.name}-{process.serial}")

    async def call(self, effect: Callable[[], Any], *, faulty: bool = True) -> Any:
        """Let ``effect`` happen at the server and give its result; a future it gives is waited for there.

        Raises what the effect raises, or the link's error when the request or its answer got lost.
        """
        return await self.send(effect, faulty=faulty)

    def send(self, effect: Callable[[], Any], *, faulty: bool = True) -> asyncio.Future[Any]:
        """Send a request without waiting for its answer."""
        if self.process.dead:
            raise asyncio.CancelledError
        loop, dice, faults = self.network.loop, self.random, self.network.faults
        answer: asyncio.Future[Any] = loop.create_future()
        slow = faults.slow if faulty else 0.0
        there = dice.uniform(0.0005, 0.01) + (dice.uniform(0, faults.slow_seconds) if dice.random() < slow else 0)
        back = dice.uniform(0.0005, 0.01) + (dice.uniform(0, faults.slow_seconds) if dice.random() < slow else 0)
        lost = faulty and dice.random() < faults.lost_requests
        unheard = faulty and dice.random() < faults.lost_answers
        self.last = arrival = max(self.last + 1e-6, loop.time() + there)

        def settle(result: Any, error: BaseException | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        def fail() -> None:
            settle(None, self.error())

        def reply(result: Any, error: BaseException | None) -> None:
            if unheard:
                self.network.later(self.network.patience, fail)
            else:
                self.network.later(back, settle, result, error)

        def arrive() -> None:
            if self.server.down or lost:
                self.network.later(self.network.patience if lost else 0.05, fail)
                return
            try:
                result = effect()
            except Exception as error:  # noqa: BLE001 - handed to the caller
                reply(None, error)
                return
            if isinstance(result, asyncio.Future):
                result.add_done_callback(
                    lambda done: done.cancelled() or reply(*_outcome(done)), context=contextvars.Context()
                )
            else:
                reply(result, None)

        self.network.later(arrival - loop.time(), arrive)
        return answer


class Network:
    """The clock's hand: whatever is on its way."""

    def __init__(self, loop: SimLoop, seed: int, faults: Faults) -> None:
        self.loop = loop
        self.seed = seed
        self.faults = faults
        self.patience = 1.0

    def later(self, seconds: float, what: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        """Call something later, whatever becomes of the process that is running."""
        return self.loop.call_later(max(seconds, 0.0), what, *args, context=contextvars.Context())

    def link(self, process: Process, server: Server, error: Callable[[], Exception]) -> Link:
        """A new connection of a process."""
        return Link(self, process, server, error)


def _outcome(done: asyncio.Future[Any]) -> tuple[Any, BaseException | None]:
    error = done.exception()
    return (None, error) if error is not None else (done.result(), None)
