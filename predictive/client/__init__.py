"""The publishers' client: checks typed events as the worker does, and sends them to Kafka.

    async with Publisher(bootstrap_servers="127.0.0.1:9092") as events:
        await events.lesson_completion(user_id=7, content_id="lesson_42", skills=["algebra"], score=0.8)

See docs/publishing.md.
"""

from lyo.models.events.types import (
    Content,
    ContentMetadata,
    Erasure,
    Event,
    LessonCompletion,
    Organization,
    Outcome,
    OutcomeKind,
    Preferences,
    QuietHours,
    Sentiment,
    Session,
    StruggleRequest,
)
from lyo.predictive.client.building import (
    content,
    erasure,
    lesson_completion,
    new_event_id,
    organization,
    outcome,
    preferences,
    sentiment,
    session,
    struggle_request,
)
from lyo.predictive.client.checking import AnyEvent, InvalidEvent, record_of
from lyo.predictive.client.delivery import Delivery, DeliveryError, Receipt
from lyo.predictive.client.publisher import BufferFull, Publisher, publish_all
from lyo.streams.kafka.clients import Unreachable
from lyo.streams.topics import TopicError

__all__ = [
    "AnyEvent",
    "BufferFull",
    "Content",
    "ContentMetadata",
    "Delivery",
    "DeliveryError",
    "Erasure",
    "Event",
    "InvalidEvent",
    "LessonCompletion",
    "Organization",
    "Outcome",
    "OutcomeKind",
    "Preferences",
    "Publisher",
    "QuietHours",
    "Receipt",
    "Sentiment",
    "Session",
    "StruggleRequest",
    "TopicError",
    "Unreachable",
    "content",
    "erasure",
    "lesson_completion",
    "new_event_id",
    "organization",
    "outcome",
    "preferences",
    "publish_all",
    "record_of",
    "sentiment",
    "session",
    "struggle_request",
]
