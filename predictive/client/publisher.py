"""The publishers' client: events checked, keyed and sent in batches, each acknowledged by Kafka."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self

from lyo.predictive.client import building
from lyo.predictive.client.checking import AnyEvent, record_of
from lyo.predictive.client.delivery import Delivery, DeliveryError, Receipt
from lyo.streams.kafka.clients import explain, reach
from lyo.streams.producers.producing import PATIENCE, Sender, Sent, answered
from lyo.streams.settings import Settings

__all__ = ["BufferFull", "Publisher", "publish_all"]

BUFFER: Final = 10_000

P = ParamSpec("P")


class BufferFull(RuntimeError):
    """As many events wait for their acknowledgement as the publisher may hold."""


def _publishing(
    build: Callable[P, AnyEvent],
) -> Callable[Concatenate[Publisher, P], Awaitable[Receipt]]:
    """The method that makes an event by ``build`` and publishes it."""

    async def method(self: Publisher, /, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        return await self.publish(build(*args, **kwargs))

    signature = inspect.signature(build)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[this, *signature.parameters.values()], return_annotation=Receipt
    )
    method.__name__, method.__qualname__ = build.__name__, f"Publisher.{build.__name__}"
    method.__doc__ = f"{build.__doc__}\n\n    Published: returns when Kafka has acknowledged it."
    return method


class Publisher:
    """Publishes events, as ``async with Publisher(bootstrap_servers="...") as events: ...``.

    An event is refused before it is sent if the worker would refuse it. Events accepted while others are on
    their way go out with the next batch, so many awaited at once cost few round trips. The end of the block
    flushes everything accepted, also after an exception.

    Settings that are not given come from the environment (`lyo.streams.settings`). ``buffer`` is how many
    events may wait for their acknowledgement, ``patience`` (s) how long each waits for it once it is sent.
    """

    lesson_completion = _publishing(building.lesson_completion)
    session = _publishing(building.session)
    sentiment = _publishing(building.sentiment)
    outcome = _publishing(building.outcome)
    preferences = _publishing(building.preferences)
    struggle_request = _publishing(building.struggle_request)
    erasure = _publishing(building.erasure)
    content = _publishing(building.content)
    organization = _publishing(building.organization)

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        buffer: int = BUFFER,
        patience: float = PATIENCE,
        **given: Any,
    ) -> None:
        self._settings = Settings(**given) if settings is None else settings.model_copy(update=given)
        self._buffer = buffer
        self._patience = patience
        self._sender: Sender | None = None
        self._pump: asyncio.Task[None] | None = None
        self._followers: set[asyncio.Task[None]] = set()
        self._waiting: list[Delivery] = []
        self._failed: list[Delivery] = []
        self._pending = 0
        self._wake, self._room, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def start(self) -> None:
        """Connect to Kafka and check that the topics exist.

        Raises:
            lyo.streams.kafka.clients.Unreachable: Kafka did not answer within the settings' time.
            lyo.streams.topics.TopicError: a topic is missing or has other partitions than the settings name.
        """
        any_count = "partitions" not in self._settings.model_fields_set
        self._sender = await reach(
            self._settings,
            lambda: Sender.connect(self._settings, patience=self._patience, any_count=any_count),
        )
        self._room.set()
        self._idle.set()
        self._pump = asyncio.create_task(self._run(self._sender))

    async def close(self) -> None:
        """Flush, and close the connection even if that fails. Raises DeliveryError as `flush` does."""
        try:
            await self.flush()
        finally:
            sender, self._sender = self._sender, None
            tasks = [*self._followers, *([] if self._pump is None else [self._pump])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if sender is not None:
                await sender.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except DeliveryError as undelivered:
            if error is None:
                raise
            error.add_note(f"besides: {undelivered}")

    # -- sending -----------------------------------------------------------------------------------------

    async def publish(self, event: AnyEvent) -> Receipt:
        """Send one event and wait until Kafka has acknowledged it.

        Raises:
            InvalidEvent: the worker would refuse it; nothing was sent.
            DeliveryError: Kafka did not acknowledge it; it may be sent again as it is.
        """
        return await (await self.send(event))

    async def send(self, event: AnyEvent) -> Delivery:
        """Accept one event, waiting while the buffer is full. Raises InvalidEvent.

        It is sent at once, with the other events that wait. Await the delivery, or `flush`, to know its fate.
        """
        delivery = Delivery(event, record_of(event))
        while self._pending >= self._buffer:
            await self._room.wait()
        return self._accept(delivery)

    def send_nowait(self, event: AnyEvent) -> Delivery:
        """Accept one event without waiting. Raises InvalidEvent, or BufferFull where there is no room."""
        delivery = Delivery(event, record_of(event))
        if self._pending >= self._buffer:
            raise BufferFull(f"{self._pending:,} events wait for their acknowledgement")
        return self._accept(delivery)

    async def flush(self) -> None:
        """Wait until everything accepted so far has its answer.

        Raises:
            DeliveryError: events that were not acknowledged and whose delivery nobody has awaited.
        """
        if self._sender is not None:
            await self._idle.wait()
        unheard = [delivery for delivery in self._failed if delivery.unheard]
        self._failed.clear()
        if unheard:
            try:
                await unheard[0]
            except DeliveryError as first:
                many = (
                    f"{len(unheard):,} events were not acknowledged, the first of them "
                    if unheard[1:]
                    else ""
                )
                raise DeliveryError(f"{many}{first}", [delivery.event for delivery in unheard]) from None

    def _accept(self, delivery: Delivery) -> Delivery:
        if self._sender is None:
            raise RuntimeError("the publisher is not open: `async with Publisher(...) as events`")
        self._pending += 1
        self._idle.clear()
        if self._pending >= self._buffer:
            self._room.clear()
        self._waiting.append(delivery)
        self._wake.set()
        return delivery

    # -- internals ----------------------------------------------------------------------------------------

    async def _run(self, sender: Sender) -> None:
        """Send what waits, all of it at a time: batches grow with the load."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            of = {id(delivery.record): delivery for delivery in waiting}
            try:
                sent = await sender.send(delivery.record for delivery in waiting)
            except Exception as error:  # noqa: BLE001 - each waiting delivery gets the error
                self._fail(waiting, explain(error))
                continue
            follower = asyncio.create_task(self._follow(sent, of))
            self._followers.add(follower)
            follower.add_done_callback(self._followers.discard)

    async def _follow(self, sent: list[Sent], of: dict[int, Delivery]) -> None:
        """Settle each event of some batches as soon as Kafka has answered, or when the patience is over."""
        for batch in sent:
            deliveries = [of[id(record)] for record in batch.records]
            batch.answer.add_done_callback(partial(self._answer, deliveries))
        for batch in await answered(sent, self._patience):
            deliveries = [of[id(record)] for record in batch.records]
            self._fail(deliveries, f"no acknowledgement by Kafka within {self._patience:g} s")

    def _answer(self, deliveries: list[Delivery], answer: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if error is not None:
            self._fail(deliveries, explain(error))
            return
        first = answer.result()
        self._settle(
            (delivery, partial(delivery.acknowledge, first.topic, first.partition, first.offset + place))
            for place, delivery in enumerate(deliveries)
        )

    def _fail(self, deliveries: Iterable[Delivery], reason: str) -> None:
        self._settle((delivery, partial(delivery.fail, reason)) for delivery in deliveries)

    def _settle(self, answers: Iterable[tuple[Delivery, Callable[[], None]]]) -> None:
        """Settle the deliveries that have no answer yet, and make room in the buffer."""
        for delivery, answer in answers:
            if delivery.done:
                continue  # the patience was over before Kafka answered
            answer()
            self._pending -= 1
            if delivery.unheard:
                self._failed.append(delivery)
        if self._pending < self._buffer:
            self._room.set()
        if self._pending == 0:
            self._idle.set()


def publish_all(events: Iterable[AnyEvent], **given: Any) -> list[Receipt]:
    """Publish events from a program without an event loop; ``given`` is what `Publisher` takes.

    Raises:
        InvalidEvent: an event is refused; those before it are published.
        DeliveryError: Kafka did not acknowledge an event.
    """

    async def publishing() -> list[Receipt]:
        async with Publisher(**given) as publisher:
            deliveries = [await publisher.send(event) for event in events]
            await publisher.flush()
            return [await delivery for delivery in deliveries]

    return asyncio.run(publishing())
