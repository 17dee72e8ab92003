"""Requests between simulated processes and servers: slow, lost, not answered, or cut off by an outage."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.simulation.loop import Process, SimLoop


@dataclass
class Faults:
    """How often what goes wrong; each seed has its own mixture, some of them none of a kind."""

    lost_requests: float = 0.0
    lost_answers: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 1.0
    lost_polls: float = 0.0
    marker_seconds: float = 0.3


class Server:
    """Something that is reached over the network and may be away."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.down = False

    def back(self) -> None:
        """It is there again."""
        self.down = False


class Link:
    """One connection: what is sent through it arrives in its order, or not at all."""

    def __init__(
        self, network: Network, process: Process, server: Server, error: Callable[[], Exception]
    ) -> None:
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
        request = Request(self, effect, faulty=faulty)
        self.last = arrival = max(self.last + 1e-6, self.network.loop.time() + self.delay(faulty=faulty))
        self.network.later(arrival - self.network.loop.time(), request.arrive)
        return request.answer

    def delay(self, *, faulty: bool) -> float:
        """How long a message is on its way."""
        slow = faulty and self.random.random() < self.network.faults.slow
        more = self.random.uniform(0, self.network.faults.slow_seconds) if slow else 0.0
        return self.random.uniform(0.0005, 0.01) + more


class Request:
    """One request on its way, and its answer."""

    def __init__(self, link: Link, effect: Callable[[], Any], *, faulty: bool) -> None:
        faults, dice = link.network.faults, link.random
        self.link = link
        self.effect = effect
        self.answer: asyncio.Future[Any] = link.network.loop.create_future()
        self.back = link.delay(faulty=faulty)
        self.lost = faulty and dice.random() < faults.lost_requests
        self.unheard = faulty and dice.random() < faults.lost_answers

    def arrive(self) -> None:
        """Reach the server, unless it is away or the request got lost."""
        network = self.link.network
        if self.lost or self.link.server.down:
            network.later(network.patience if self.lost else 0.05, self._settle, None, self.link.error())
            return
        try:
            result = self.effect()
        except Exception as error:  # noqa: BLE001 - handed to the caller
            self._reply(None, error)
            return
        if isinstance(result, asyncio.Future):
            result.add_done_callback(self._done, context=contextvars.Context())
        else:
            self._reply(result, None)

    def _done(self, done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            self._reply(*_outcome(done))

    def _reply(self, result: Any, error: BaseException | None) -> None:
        network = self.link.network
        if self.unheard:
            network.later(network.patience, self._settle, None, self.link.error())
        else:
            network.later(self.back, self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(result)
        else:
            self.answer.set_exception(error)


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
