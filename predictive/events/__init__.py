"""The publishers' client: typed events, refused here if the worker would refuse them, sent to Kafka.

    async with Publisher(bootstrap_servers="127.0.0.1:9092") as events:
        await events.lesson_completion(user_id=7, content_id="lesson_42", skills=["algebra"], score=0.8)

See docs/publishing.md.
"""

from models.event_types import (
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
from predictive.events.building import (
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
from predictive.events.checking import AnyEvent, InvalidEvent, record_of
from predictive.events.delivery import Delivery, DeliveryError, Receipt
from predictive.events.publisher import BufferFull, Publisher, publish_all
from streams.kafka import Unreachable
from streams.topics import TopicError

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
