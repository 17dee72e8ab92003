"""Struggle requests: which are open and what they ask for.

A request is answered when it comes. While its content is among the four that the learner asked about last,
and it is not older than a week, the answer is updated as the learner's rows change; the first answer is kept
beside it. Which requests are open depends on their times alone, so the order of arrival makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from lyo.models.arrays.zones import DAY
from lyo.models.events.decode import event_id_hash, milliseconds
from lyo.models.events.types import ContentMetadata, Share, StruggleRequest
from lyo.models.state.catalogue import Catalogue

__all__ = ["FirstAnswer", "Request", "Requests"]

OPEN_CONTENTS = 4
OPEN_FOR = 7 * DAY
REMEMBERED = 64
UNKNOWN_TYPE = "unknown"


class FirstAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the request was told when it came."""

    probability: Annotated[Share, Meta(description="The struggle probability then.")]
    confidence: Annotated[Share, Meta(description="The confidence then.")]
    as_of: Annotated[
        str, Meta(description="The moment that it held for.", extra_json_schema={"format": "date-time"})
    ]


class _AnswerRecord(msgspec.Struct, frozen=True):
    """Fields of a struggle record on the topic that describe the request that it answers."""

    request_id: str
    content_id: str
    requested_at: datetime
    content_metadata: ContentMetadata
    answered: FirstAnswer | None = None


_decode_answer = msgspec.json.Decoder(_AnswerRecord).decode


@dataclass(slots=True)
class Request:
    """One request about a content, and what it resolves to in the catalogue."""

    request_id: str
    content_id: str
    at: int  # ms
    id: int  # 48-bit hash of the request id
    metadata: ContentMetadata
    answered: FirstAnswer | None = None
    sent: int = 0  # hash of the content sent last
    revision: int = -1  # of the catalogue that the fields below come from
    organization: int = 0  # for which they were looked up
    prerequisites: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()
    difficulty: float = float("nan")
    type: str = UNKNOWN_TYPE
    as_of: int = 0  # ms, the newest time known of the learner when it came

    def resolve(self, catalogue: Catalogue, organization: int) -> None:
        """Look up the names of the request; what it leaves out comes from the catalogue."""
        if (self.revision, self.organization) == (catalogue.revision, organization):
            return
        self.revision, self.organization = catalogue.revision, organization
        asked, known = self.metadata, catalogue.content(self.content_id, organization)
        prerequisites, similar, difficulty = (
            asked.prerequisites,
            asked.similar_topics,
            asked.difficulty_rating,
        )
        if known is not None:
            prerequisites = known.prerequisites if prerequisites is None else prerequisites
            similar = known.similar_topics if similar is None else similar
            difficulty = known.difficulty if difficulty is None else difficulty
        self.prerequisites = catalogue.skills_of(prerequisites or (), organization)
        self.similar = catalogue.skills_of(similar or (), organization)
        self.difficulty = float("nan") if difficulty is None else difficulty
        self.type = asked.type or UNKNOWN_TYPE


class Requests:
    """The requests of the learners of one partition, by learner slot.

    Of contents before the last four only the time of the request is kept, for the last 64 of a learner, so
    that a duplicate request is recognised.
    """

    def __init__(self) -> None:
        self._of: dict[int, dict[str, Request]] = {}
        self._past: dict[int, dict[str, tuple[int, int]]] = {}

    def add(self, slot: int, event: StruggleRequest, at: int, number: int) -> Request | None:
        """Add a request; None if it is a duplicate, or older than the newest one about its content."""
        known, past = self._of.setdefault(slot, {}), self._past.get(slot, {})
        before = known.get(event.content_id)
        last = past.get(event.content_id) if before is None else (before.at, before.id)
        if last is not None and last >= (at, number):
            return None
        past.pop(event.content_id, None)
        request = Request(event.request_id, event.content_id, at, number, event.content_metadata)
        known[event.content_id] = request
        return request

    def load(self, slot: int, value: bytes) -> None:
        """Load a request from the record that answered it."""
        stored = _decode_answer(value)
        at = milliseconds(stored.requested_at)
        request = Request(
            stored.request_id,
            stored.content_id,
            at,
            event_id_hash(stored.request_id),
            stored.content_metadata,
        )
        request.answered = stored.answered
        self._of.setdefault(slot, {})[stored.content_id] = request

    def unload(self, slot: int, content_id: str) -> None:
        """Apply a tombstone of the topic: delete the request about this content."""
        self._of.get(slot, {}).pop(content_id, None)

    def forget(self, slot: int) -> None:
        """Forget a learner's requests."""
        self._of.pop(slot, None)
        self._past.pop(slot, None)

    def newest(self) -> Iterator[tuple[int, int]]:
        """Each learner's slot and newest request time (ms); after a restore, before any is closed."""
        for slot, known in self._of.items():
            if known:
                yield slot, max(request.at for request in known.values())

    def all(self) -> Iterator[Request]:
        """Every request that is not closed for good."""
        for known in self._of.values():
            yield from known.values()

    def of(self, slot: int) -> list[Request]:
        """A learner's requests that are not closed for good."""
        return list(self._of.get(slot, {}).values())

    def open(self, slot: int, as_of: int) -> list[Request]:
        """A learner's open requests as of an instant in ms, newest first."""
        known = self._of.get(slot)
        if not known:
            return []
        newest = sorted(known.values(), key=lambda request: (request.at, request.id), reverse=True)
        if len(newest) > OPEN_CONTENTS:
            self._close(slot, known, newest[OPEN_CONTENTS:])
        return [request for request in newest[:OPEN_CONTENTS] if request.at >= as_of - OPEN_FOR]

    def _close(self, slot: int, known: dict[str, Request], requests: list[Request]) -> None:
        """Keep only the times of these requests: four newer contents have taken their place for good."""
        past = self._past.setdefault(slot, {})
        for request in reversed(requests):
            del known[request.content_id]
            past[request.content_id] = request.at, request.id
        for oldest in list(past)[: max(len(past) - REMEMBERED, 0)]:
            del past[oldest]
