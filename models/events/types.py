"""The shapes of input records: one msgspec struct for each kind, with the contract's limits.

Unknown fields are ignored. What a struct cannot say (NUL, time zones, years, keys) is checked in
`lyo.models.events.decode`. The descriptions go into the published schemas (`lyo contracts`).
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, NamedTuple, TypeAlias

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
EventId: TypeAlias = Annotated[
    Id, Meta(description="Unique for each event; one sent again with the same id counts once.")
]
Ids: TypeAlias = Annotated[list[Id], Meta(max_length=_LIST)]
References: TypeAlias = Annotated[list[Reference], Meta(max_length=_LIST)]
SkillNames: TypeAlias = Annotated[dict[Id, Name], Meta(max_length=_LIST)]


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """What every record about a learner holds."""

    user_id: Annotated[Number, Meta(description="The learner.")]
    organization_id: Annotated[
        Number | None,
        Meta(description="The learner's organization; another one than before is refused."),
    ] = None


class LessonCompletion(Event, frozen=True, kw_only=True, gc=False):
    """A finished (or abandoned) lesson, with its score in [0, 1] and its duration in seconds."""

    event_id: EventId
    occurred_at: Annotated[Instant, Meta(description="When the lesson ended.")]
    content_id: Annotated[Id, Meta(description="The lesson, exercise or other content.")]
    skills: Annotated[Ids, Meta(description="Ids of the skills that it practised; may be empty.")]
    content_type: Annotated[
        TypeName | None, Meta(description="What sort of content it is, such as lesson or quiz.")
    ] = None
    topic: Annotated[Name | None, Meta(description="The topic as people call it.")] = None
    score: Annotated[
        Share | None,
        Meta(description="Share of it that was right, 0 to 1; left out where nothing was scored."),
    ] = None
    struggled: Annotated[
        bool | None,
        Meta(description="Whether the learner struggled; where it is left out, a score under 0.5 says so."),
    ] = None
    gave_up: Annotated[
        bool | None,
        Meta(description="Whether the learner left before the end; that is a struggle, whatever the score."),
    ] = None
    duration_seconds: Annotated[
        Seconds | None,
        Meta(description="Time spent on it, in seconds; more than usual is a sign of a struggle."),
    ] = None
    difficulty: Annotated[
        Share | None, Meta(description="How hard the content is, 0 (easy) to 1 (hard).")
    ] = None
    prerequisites: Annotated[References | None, Meta(description="Ids of the skills that it builds on.")] = (
        None
    )
    similar_topics: Annotated[
        References | None, Meta(description="Ids of contents, topics or skills that are like it.")
    ] = None


class Session(Event, frozen=True, kw_only=True, gc=False):
    """A stay in the app; without `ended_at` it only says "active since"."""

    event_id: EventId
    started_at: Annotated[Instant, Meta(description="When the stay began.")]
    ended_at: Annotated[
        Instant | None,
        Meta(description="When it ended: at most 24 hours after it began; left out: it goes on."),
    ] = None


class Sentiment(Event, frozen=True, kw_only=True, gc=False):
    """How a learner feels, in [-1, 1]."""

    event_id: EventId
    occurred_at: Annotated[Instant, Meta(description="When the learner felt so.")]
    sentiment: Annotated[Feeling, Meta(description="-1 (bad) to 1 (good); 0 is neutral.")]
    source: Annotated[TypeName | None, Meta(description="Where it was seen, such as chat or survey.")] = None


class Outcome(Event, frozen=True, kw_only=True, gc=False):
    """What came of a prediction, an intervention or an offer of help."""

    event_id: EventId
    occurred_at: Annotated[Instant, Meta(description="When it happened.")]
    kind: Annotated[OutcomeKind, Meta(description="What has happened.")]
    prediction_id: Annotated[
        Id | None, Meta(description="The prediction that it came of, if one is known.")
    ] = None
    content_id: Annotated[
        Id | None, Meta(description="The content that it is about (struggled, not_struggled, help_...).")
    ] = None
    skill_id: Annotated[
        Id | None,
        Meta(description="The skill that it is about (intervention_taken, reminder_sent, reviewed)."),
    ] = None
    completion_time_seconds: Annotated[
        Seconds | None, Meta(description="Time the learner took, in seconds.")
    ] = None
    gave_up: Annotated[
        bool | None,
        Meta(description="Whether the learner left before the end; not_struggled then counts as struggled."),
    ] = None
    variant: Annotated[
        TypeName | None, Meta(description="The arm of an experiment that the learner was in.")
    ] = None


class QuietHours(Struct, frozen=True, kw_only=True, gc=False, rename={"start": "from", "end": "to"}):
    """Local times of day, HH:MM or HH:MM:SS, between which nobody is disturbed; may wrap midnight.

    A minute that they touch is quiet to its end. Two equal times are no quiet hours.
    """

    start: Annotated[TimeOfDay, Meta(description="Beginning, local time, HH:MM or HH:MM:SS.")]
    end: Annotated[
        TimeOfDay,
        Meta(
            description="End, local time; earlier than the beginning means over midnight, the same means "
            "that there are no quiet hours."
        ),
    ]


class Preferences(Event, frozen=True, kw_only=True, gc=False):
    """A learner's preferences: a field left out (UNSET) stays as it was, null clears it."""

    event_id: EventId
    updated_at: Annotated[
        Instant, Meta(description="When the learner changed them; the newest change of each field counts.")
    ]
    timezone: Annotated[
        Zone | UnsetType | None,
        Meta(description="IANA time zone; left out: as before, null: no longer known."),
    ] = UNSET
    language: Annotated[
        Language | UnsetType | None,
        Meta(description="BCP 47 language tag; left out: as before, null: no longer known."),
    ] = UNSET
    quiet_hours: Annotated[
        QuietHours | UnsetType | None,
        Meta(description="When nothing may disturb the learner; left out: as before, null: never set."),
    ] = UNSET
    max_nudges_per_day: Annotated[
        Cap | UnsetType | None,
        Meta(description="Most nudges on one local day; left out: as before, null: the organization's."),
    ] = UNSET


class ContentMetadata(Struct, frozen=True, kw_only=True, gc=False):
    """What a struggle request says of the content; difficulty in [0, 1]."""

    content_id: Annotated[
        Id | None, Meta(description="The content asked about; without it the request's own id stands for it.")
    ] = None
    type: Annotated[
        TypeName | None, Meta(description="What sort of content it is, such as lesson or quiz.")
    ] = None
    difficulty_rating: Annotated[
        Share | None, Meta(description="How hard it is, 0 (easy) to 1 (hard); left out: as in the catalogue.")
    ] = None
    prerequisites: Annotated[
        References | None,
        Meta(description="Ids of the skills that it builds on; left out: as in the catalogue."),
    ] = None
    similar_topics: Annotated[
        References | None,
        Meta(
            description="Ids of contents, topics or skills that are like it; left out: as in the catalogue."
        ),
    ] = None


class StruggleRequest(Event, frozen=True, kw_only=True, gc=False):
    """A question whether a learner will struggle with a content."""

    request_id: Annotated[
        Id, Meta(description="Unique for each request; one sent again with the same id is answered once.")
    ]
    requested_at: Annotated[Instant, Meta(description="When it was asked.")]
    content_metadata: Annotated[ContentMetadata, Meta(description="What is known of the content.")]

    @property
    def content_id(self) -> str:
        """The content asked about; the request's own id where none is named."""
        named = self.content_metadata.content_id
        return self.request_id if named is None else named


class Erasure(Event, frozen=True, kw_only=True, gc=False):
    """A request to forget a learner, or the learner's consent to be known again."""

    event_id: EventId
    requested_at: Annotated[
        Instant, Meta(description="When it was asked; everything older is forgotten and stays so.")
    ]
    consented_at: Annotated[
        Instant | None,
        Meta(
            description="When the learner agreed to be known again: what happened from then on counts, what "
            "happened before stays forgotten. Left out: nothing of the learner counts any more."
        ),
    ] = None


class Content(Struct, frozen=True, kw_only=True, gc=False):
    """One content of the catalogue."""

    content_id: Annotated[Id, Meta(description="The content; also the record's key.")]
    skills: Annotated[Ids, Meta(description="Ids of the skills that it practises; may be empty.")]
    organization_id: Annotated[
        Number | None, Meta(description="Whose content it is; left out: everybody's.")
    ] = None
    title: Annotated[Name | None, Meta(description="Its title.")] = None
    topic: Annotated[Name | None, Meta(description="Its topic as people call it.")] = None
    difficulty: Annotated[Share | None, Meta(description="How hard it is, 0 (easy) to 1 (hard).")] = None
    prerequisites: Annotated[References | None, Meta(description="Ids of the skills that it builds on.")] = (
        None
    )
    similar_topics: Annotated[
        References | None, Meta(description="Ids of contents, topics or skills that are like it.")
    ] = None
    skill_names: Annotated[
        SkillNames | None, Meta(description="What people call its skills, by skill id.")
    ] = None


class Organization(Struct, frozen=True, kw_only=True, gc=False):
    """One organization and its defaults for its learners."""

    organization_id: Annotated[Number, Meta(description="The organization; also the record's key.")]
    timezone: Annotated[Zone | None, Meta(description="IANA time zone of learners who name none.")] = None
    quiet_hours: Annotated[
        QuietHours | None, Meta(description="When nothing may disturb learners who name no hours.")
    ] = None
    max_nudges_per_day: Annotated[
        Cap | None, Meta(description="Most nudges on one local day for learners who name no number.")
    ] = None


class Input(NamedTuple):
    """How a kind of record comes in."""

    record: type[Struct]
    topic: str
    """Its topic's name, without the prefix."""
    time: str | None = None
    """The field that says when it happened; None: catalogue, which every worker reads whole."""
    recognised: bool = False
    """Whether an event that is sent again is recognised by its id, and folded once."""


INPUTS: Final = {
    Kind.LESSON_COMPLETION: Input(LessonCompletion, "lesson-completions", "occurred_at", recognised=True),
    Kind.SESSION: Input(Session, "sessions", "started_at", recognised=True),
    Kind.SENTIMENT: Input(Sentiment, "sentiment", "occurred_at", recognised=True),
    Kind.OUTCOME: Input(Outcome, "outcomes", "occurred_at"),
    Kind.PREFERENCES: Input(Preferences, "preferences", "updated_at"),
    Kind.STRUGGLE_REQUEST: Input(StruggleRequest, "struggle-requests", "requested_at"),
    Kind.ERASURE: Input(Erasure, "erasures", "requested_at"),
    Kind.CONTENT: Input(Content, "content"),
    Kind.ORGANIZATION: Input(Organization, "organizations"),
}
"""Every kind of input record. Stored rows keep the recognised ones' ids in this order: new ones come last."""
CATALOGUE: Final = tuple(kind for kind, each in INPUTS.items() if each.time is None)
"""The kinds that every worker reads whole."""
