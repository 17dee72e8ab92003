"""The shapes of input records: one msgspec struct for each kind, with the contract's limits.

Unknown fields are ignored. What a struct cannot say (NUL, time zones, years, keys) is checked in
`models.events`.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType


class Kind(StrEnum):
    """A kind of input record; the value is the `type` of a line in an event file."""

    LESSON_COMPLETION = "lesson_completion"
    SESSION = "session"
    SENTIMENT = "sentiment"
    OUTCOME = "outcome"
    PREFERENCES = "preferences"
    STRUGGLE_REQUEST = "struggle_request"
    ERASURE = "erasure"
    CONTENT = "content"
    ORGANIZATION = "organization"


class OutcomeKind(StrEnum):
    """What an outcome event says has happened."""

    STRUGGLED = "struggled"
    NOT_STRUGGLED = "not_struggled"
    HELP_OFFERED = "help_offered"
    HELP_ACCEPTED = "help_accepted"
    HELP_DECLINED = "help_declined"
    STRATEGY_EXECUTED = "strategy_executed"
    RETURNED = "returned"
    INTERVENTION_TAKEN = "intervention_taken"
    RESPONDED = "responded"
    REMINDER_SENT = "reminder_sent"
    REVIEWED = "reviewed"
    NUDGE_SENT = "nudge_sent"


_LIST = 50
Number: TypeAlias = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100)]
Name: TypeAlias = Annotated[str, Meta(max_length=200)]
Reference: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200)]
TypeName: TypeAlias = Annotated[str, Meta(max_length=50)]
Language: TypeAlias = Annotated[str, Meta(max_length=35)]
Zone: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Feeling: TypeAlias = Annotated[float, Meta(ge=-1, le=1)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=2**31 - 1)]
Cap: TypeAlias = Annotated[int, Meta(ge=0, le=100)]
Instant: TypeAlias = Annotated[datetime, Meta(tz=True)]
TimeOfDay: TypeAlias = Annotated[str, Meta(pattern=r"\A([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?\Z")]
Ids: TypeAlias = Annotated[list[Id], Meta(max_length=_LIST)]
References: TypeAlias = Annotated[list[Reference], Meta(max_length=_LIST)]
SkillNames: TypeAlias = Annotated[dict[Id, Name], Meta(max_length=_LIST)]


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """What every record about a learner holds."""

    user_id: Number
    organization_id: Number | None = None


class LessonCompletion(Event, frozen=True, kw_only=True, gc=False):
    """A finished (or abandoned) lesson, with its score in [0, 1] and its duration in seconds."""

    event_id: Id
    occurred_at: Instant
    content_id: Id
    skills: Ids
    content_type: TypeName | None = None
    topic: Name | None = None
    score: Share | None = None
    struggled: bool | None = None
    gave_up: bool | None = None
    duration_seconds: Seconds | None = None
    difficulty: Share | None = None
    prerequisites: References | None = None
    similar_topics: References | None = None


class Session(Event, frozen=True, kw_only=True, gc=False):
    """A stay in the app; without `ended_at` it only says "active since"."""

    event_id: Id
    started_at: Instant
    ended_at: Instant | None = None


class Sentiment(Event, frozen=True, kw_only=True, gc=False):
    """How a learner feels, in [-1, 1]."""

    event_id: Id
    occurred_at: Instant
    sentiment: Feeling
    source: TypeName | None = None


class Outcome(Event, frozen=True, kw_only=True, gc=False):
    """What came of a prediction, an intervention or an offer of help."""

    event_id: Id
    occurred_at: Instant
    kind: OutcomeKind
    prediction_id: Id | None = None
    content_id: Id | None = None
    skill_id: Id | None = None
    completion_time_seconds: Seconds | None = None
    gave_up: bool | None = None
    variant: TypeName | None = None


class QuietHours(Struct, frozen=True, kw_only=True, gc=False, rename={"start": "from", "end": "to"}):
    """Local times of day, HH:MM or HH:MM:SS, between which nobody is disturbed; may wrap midnight."""

    start: TimeOfDay
    end: TimeOfDay


class Preferences(Event, frozen=True, kw_only=True, gc=False):
    """A learner's preferences: UNSET leaves a field as it was, None clears it."""

    event_id: Id
    updated_at: Instant
    timezone: Zone | UnsetType | None = UNSET
    language: Language | UnsetType | None = UNSET
    quiet_hours: QuietHours | UnsetType | None = UNSET
    max_nudges_per_day: Cap | UnsetType | None = UNSET


class ContentMetadata(Struct, frozen=True, kw_only=True, gc=False):
    """What a struggle request says of the content; difficulty in [0, 1]."""

    content_id: Id | None = None
    type: TypeName | None = None
    difficulty_rating: Share | None = None
    prerequisites: References | None = None
    similar_topics: References | None = None


class StruggleRequest(Event, frozen=True, kw_only=True, gc=False):
    """A question whether a learner will struggle with a content."""

    request_id: Id
    requested_at: Instant
    content_metadata: ContentMetadata

    @property
    def content_id(self) -> str:
        """The content asked about; the request's own id where none is named."""
        named = self.content_metadata.content_id
        return self.request_id if named is None else named


class Erasure(Event, frozen=True, kw_only=True, gc=False):
    """A request to forget a learner."""

    event_id: Id
    requested_at: Instant


class Content(Struct, frozen=True, kw_only=True, gc=False):
    """One content of the catalogue."""

    content_id: Id
    skills: Ids
    organization_id: Number | None = None
    title: Name | None = None
    topic: Name | None = None
    difficulty: Share | None = None
    prerequisites: References | None = None
    similar_topics: References | None = None
    skill_names: SkillNames | None = None


class Organization(Struct, frozen=True, kw_only=True, gc=False):
    """One organization and its defaults for its learners."""

    organization_id: Number
    timezone: Zone | None = None
    quiet_hours: QuietHours | None = None
    max_nudges_per_day: Cap | None = None
