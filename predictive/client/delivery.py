"""The fate of an event that was accepted for sending."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from lyo.models.events.decode import Kind
from lyo.predictive.client.checking import AnyEvent
from lyo.streams.kafka.input_records import Record

__all__ = ["Delivery", "DeliveryError", "Receipt"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The position of an event that Kafka has acknowledged."""

    kind: Kind
    id: str  # its event or request id; of a content or an organization the record's key
    topic: str
    partition: int
    offset: int


class DeliveryError(RuntimeError):
    """Events that Kafka has not acknowledged. They may be in their topics all the same.

    Send them again as they are: they keep their ids, so each counts once.
    """

    def __init__(self, reason: str, events: Sequence[AnyEvent]) -> None:
        super().__init__(reason)
        self.events = list(events)


class Delivery:
    """An accepted event on its way: ``await`` it for the receipt, or leave it to `Publisher.flush`.

    Awaiting raises DeliveryError where Kafka did not acknowledge it; cancelling the waiter does not take
    the event back.
    """

    __slots__ = ("_answer", "_awaited", "event", "record")

    def __init__(self, event: AnyEvent, record: Record) -> None:
        self.event = event
        self.record = record
        self._answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._awaited = False

    def __await__(self) -> Generator[object, None, Receipt]:
        """Wait until Kafka has acknowledged the event."""
        self._awaited = True
        return asyncio.shield(self._answer).__await__()

    @property
    def id(self) -> str:
        """The event's or request's id; of a content or an organization the record's key."""
        named = getattr(self.event, "event_id", None) or getattr(self.event, "request_id", None)
        return str(named) if named is not None else self.record.key.decode()

    @property
    def done(self) -> bool:
        """Whether Kafka has answered, or the time to wait for it is over."""
        return self._answer.done()

    @property
    def unheard(self) -> bool:
        """Whether it failed and nobody has awaited it."""
        return self.done and not self._awaited and self._answer.exception() is not None

    def acknowledge(self, topic: str, partition: int, offset: int) -> None:
        """Kafka has stored the event here."""
        self._answer.set_result(Receipt(self.record.kind, self.id, topic, partition, offset))

    def fail(self, reason: str) -> None:
        """Nothing is known of whether it arrived."""
        self._answer.set_exception(
            DeliveryError(f"{self.record.kind.value} {self.id}: {reason}", [self.event])
        )
        self._answer.exception()  # marks it as retrieved; `flush` reports those that nobody awaits
