"""The records of predictions: one struct for each kind, as its topic carries it, field by field in its order.

The engine builds them (`lyo.models.predictions.kinds`); schemas, the sink's tables and the API's answers are
read from them. Consumers written in Python may decode with them: ``msgspec.json.decode(value,
type=DropoutRisk)``. Moments are RFC 3339 text in UTC, to the millisecond. Field names: specification, "API
Endpoints" and "Database Schema".
"""

from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from lyo.models.events.types import ContentMetadata, Id, Name, Number, TypeName
from lyo.models.formulas import dropout, struggle
from lyo.models.state.catalogue import ZONE_SOURCES
from lyo.models.state.plateau_window import Ended
from lyo.models.state.struggle_requests import FirstAnswer

__all__ = [
    "DropoutRisk",
    "Plateaus",
    "Prediction",
    "Regressions",
    "Struggle",
    "TimingProfile",
]


def open_list(values: Iterable[str]) -> Meta:
    """The values that a text has today; later versions may have more, and readers must expect that."""
    return Meta(extra_json_schema={"x-extensible-enum": list(values)})


Instant: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Hundredths: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Signed: TypeAlias = Annotated[float, Meta(ge=-1, le=1)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Hour: TypeAlias = Annotated[int, Meta(ge=0, le=23)]
Weekday: TypeAlias = Annotated[int, Meta(ge=1, le=7)]
Minutes: TypeAlias = Annotated[float, Meta(ge=0)]
Level: TypeAlias = Annotated[str, open_list(dropout.LEVELS)]
DayName: TypeAlias = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
HourText: TypeAlias = Annotated[str, Meta(pattern=r"\A([0-9]|1[0-9]|2[0-3])\Z")]
FullHour: TypeAlias = Annotated[str, Meta(pattern=r"\A([01][0-9]|2[0-3]):00:00\Z")]
ScoresByHour: TypeAlias = Annotated[dict[HourText, Hundredths], Meta(max_length=24)]
DropoutFactor: TypeAlias = Annotated[str, open_list(dropout.FACTORS)]
EndedBecause: TypeAlias = Annotated[str, open_list(reason.name.lower() for reason in Ended)]
HelpType: TypeAlias = Annotated[str, open_list(action["type"] for action in struggle.ACTIONS)]


class Factor(Struct, frozen=True, kw_only=True, gc=False):
    """A reason for the score: how far it moves it from the neutral 0.5."""

    name: Annotated[str, Meta(description="Which factor.")]
    contribution: Annotated[Signed, Meta(description="Signed; 0.5 plus all of them is the score.")]


class Prediction(Struct, frozen=True, kw_only=True, gc=False):
    """What every prediction says of itself first; each kind goes on with its model, learner and tenant."""

    prediction_id: Annotated[Id, Meta(description="Different for every different content of a prediction.")]
    version: Annotated[Count, Meta(description="Events of this learner that have been applied.")]
    as_of: Annotated[Instant, Meta(description="The moment that it holds for.")]
    valid_until: Annotated[Instant, Meta(description="A newer one comes before then.")]


Model: TypeAlias = Annotated[TypeName, Meta(description="Name and version of the model.")]
Revision: TypeAlias = Annotated[
    Id | None,
    Meta(description="The state of contents and organizations that it was made with, in hex."),
]
User: TypeAlias = Annotated[Number, Meta(description="The learner.")]
Tenant: TypeAlias = Annotated[Number | None, Meta(description="The learner's organization.")]
Confidence: TypeAlias = Annotated[Hundredths, Meta(description="0 (nothing is known) to 1.")]
Reason: TypeAlias = Annotated[
    str | None, Meta(description="Why nothing can be said, or too little to offer help; null otherwise.")
]
Factors: TypeAlias = Annotated[list[Factor], Meta(description="What the score is made of.")]
ZoneSource: TypeAlias = Annotated[
    str,
    open_list(ZONE_SOURCES),
    Meta(
        description="Who named the time zone: the learner, the organization, or nobody (default: UTC); "
        "unknown in records of before. Preferences with an unknown zone are refused, so they name none."
    ),
]
SameMoment: TypeAlias = Annotated[Instant, Meta(description="The same as as_of.")]


class Step(Struct, frozen=True, kw_only=True, gc=False):
    """One way to bring a learner back."""

    type: Annotated[str, Meta(description="What sort of step.")]
    title: Annotated[str, Meta(description="Title to show.")]
    message: Annotated[str, Meta(description="Text to show.")]
    action: Annotated[str, Meta(description="What the app is to open.")]


class Strategy(Struct, frozen=True, kw_only=True, gc=False):
    """How to bring a learner back."""

    urgency: Annotated[Level, Meta(description="The risk level.")]
    interventions: Annotated[list[Step], Meta(description="Steps, most important first; may be empty.")]


class DropoutRisk(Prediction, frozen=True, kw_only=True, gc=False):
    """How likely a learner is to stay away."""

    calculated_at: SameMoment
    model: Model
    catalogue_revision: Revision = None
    user_id: User
    organization_id: Tenant = None
    risk_score: Annotated[
        Hundredths,
        Meta(description="0 (will stay) to 1 (will leave); 0.5 at the average active learner's odds."),
    ]
    risk_level: Annotated[
        Level, Meta(description="low up to 0.3, medium up to 0.5, high up to 0.7, critical above.")
    ]
    risk_factors: Annotated[list[DropoutFactor], Meta(description="What speaks for it, strongest first.")]
    session_frequency_trend: Annotated[
        Signed | None, Meta(description="Recent sessions against the usual: -0.3 is 30 % fewer.")
    ]
    avg_days_between_sessions: Annotated[Minutes | None, Meta(description="Days.")]
    sentiment_trend_7d: Annotated[
        Signed | None, Meta(description="Mean sentiment of a week, -1 (bad) to 1 (good).")
    ]
    days_since_last_completion: Annotated[Count | None, Meta(description="Local days.")]
    performance_trend: Annotated[float | None, Meta(description="Change of the mean score per week.")]
    longest_streak: Annotated[Count, Meta(description="Days in a row, of the last 90 days.")]
    current_streak: Annotated[Count, Meta(description="Days in a row up to today or yesterday.")]
    reengagement_strategy: Annotated[Strategy, Meta(description="What to do about it.")]
    confidence: Confidence
    reason: Reason
    factors: Factors
    timezone: Annotated[str, Meta(description="IANA time zone of the local days.")]
    probability_7d: Annotated[
        Hundredths | None,
        Meta(description="Probability that nothing comes of the learner in the next 7 days."),
    ] = None
    probability_14d: Annotated[
        Hundredths | None, Meta(description="The same of 14 days; the score is a function of it.")
    ] = None
    probability_28d: Annotated[Hundredths | None, Meta(description="The same of 28 days.")] = None
    timezone_source: ZoneSource = "unknown"
    known: Annotated[
        bool,
        Meta(
            description="Whether anything is known of the learner; false for one unknown or erased: then the "
            "score is 0.5, the level low, the confidence 0, and there is no strategy."
        ),
    ] = True


class TimingProfile(Prediction, frozen=True, kw_only=True, gc=False):
    """When a learner learns, in local time."""

    updated_at: SameMoment
    model: Model
    catalogue_revision: Revision = None
    user_id: User
    organization_id: Tenant = None
    peak_hours: Annotated[list[Hour], Meta(description="Local hours with most activity.")]
    optimal_study_time: Annotated[FullHour | None, Meta(description="The most active peak hour, HH:00:00.")]
    best_days: Annotated[list[DayName], Meta(description="Days of the week with most activity.")]
    avg_session_duration_minutes: Annotated[Minutes | None, Meta(description="Minutes.")]
    preferred_session_length: Annotated[Count | None, Meta(description="Minutes.")]
    performance_by_hour: Annotated[
        ScoresByHour, Meta(description="Mean score, 0 to 1, by local hour where enough is known.")
    ]
    most_active_hour: Annotated[Hour | None, Meta(description="Local hour.")]
    least_active_hour: Annotated[Hour | None, Meta(description="Local hour, among those with activity.")]
    typical_study_days: Annotated[list[Weekday], Meta(description="ISO weekdays, Monday is 1.")]
    sessions_analyzed: Annotated[Count, Meta(description="Sessions of the last 90 days.")]
    confidence: Confidence
    reason: Reason
    factors: Factors
    recommended_time: Annotated[Instant | None, Meta(description="The next good moment to reach out.")]
    timezone: Annotated[str, Meta(description="IANA time zone of the local hours.")]
    timezone_source: ZoneSource = "unknown"


class PlateauEpisode(Struct, frozen=True, kw_only=True, gc=False):
    """A time in which a skill was practised and did not get better."""

    detected_at: Annotated[Instant, Meta(description="When it was noticed; names the episode.")]
    days_on_topic: Annotated[Count, Meta(description="Days from its first attempt to its last.")]
    attempts: Annotated[Count, Meta(description="Attempts in that time.")]
    mastery_level: Annotated[Hundredths, Meta(description="Mastery at its end, 0 to 1.")]
    mastery_improvement: Annotated[Signed, Meta(description="Change of mastery in that time.")]
    is_active: Annotated[bool, Meta(description="Whether it goes on: practice, and no improvement.")]
    resolved: Annotated[bool, Meta(description="Whether it ended because mastery moved.")]
    resolved_at: Annotated[Instant | None, Meta(description="When mastery moved.")]
    ended_at: Annotated[Instant | None, Meta(description="When it ended, for whatever reason.")]
    ended_because: Annotated[EndedBecause | None, Meta(description="Why it ended.")]
    intervention_suggested: Annotated[str, Meta(description="What to try instead, in words.")]


class Plateaus(Prediction, frozen=True, kw_only=True, gc=False):
    """A skill's plateau: the open one, or else the newest of those that ended."""

    updated_at: SameMoment
    model: Model
    catalogue_revision: Revision = None
    user_id: User
    organization_id: Tenant = None
    skill_id: Annotated[Id, Meta(description="The skill.")]
    topic: Annotated[Name, Meta(description="The topic as people call it.")]
    detected_at: Annotated[Instant, Meta(description="When it was noticed; names the episode.")]
    days_on_topic: Annotated[Count, Meta(description="Days from its first attempt to its last.")]
    attempts: Annotated[Count, Meta(description="Attempts in that time.")]
    mastery_level: Annotated[Hundredths, Meta(description="Mastery at its end, 0 to 1.")]
    mastery_improvement: Annotated[Signed, Meta(description="Change of mastery in that time.")]
    is_active: Annotated[bool, Meta(description="Whether it goes on: practice, and no improvement.")]
    resolved: Annotated[bool, Meta(description="Whether it ended because mastery moved.")]
    resolved_at: Annotated[Instant | None, Meta(description="When mastery moved.")]
    ended_at: Annotated[Instant | None, Meta(description="When it ended, for whatever reason.")]
    ended_because: Annotated[EndedBecause | None, Meta(description="Why it ended.")]
    intervention_suggested: Annotated[str, Meta(description="What to try instead, in words.")]
    plateau_score: Annotated[Hundredths, Meta(description="How clear it is, 0 to 1; 0.5 if there is none.")]
    confidence: Confidence
    reason: Reason
    factors: Factors
    episodes: Annotated[
        list[PlateauEpisode], Meta(description="The last ones of this skill, oldest first.", min_length=1)
    ]


class RegressionEpisode(Struct, frozen=True, kw_only=True, gc=False):
    """A time in which a skill that had been mastered faded."""

    detected_at: Annotated[Instant, Meta(description="When it began; names the episode.")]
    peak_mastery: Annotated[Hundredths, Meta(description="The highest mastery reached, 0 to 1.")]
    current_mastery: Annotated[Hundredths, Meta(description="Mastery as of the moment, 0 to 1.")]
    regression_amount: Annotated[Hundredths, Meta(description="Peak less current mastery.")]
    days_since_practice: Annotated[Count, Meta(description="Days.")]
    last_practiced_at: Annotated[Instant, Meta(description="When it was last practised.")]
    predicted_mastery_in_week: Annotated[
        Hundredths | None, Meta(description="Mastery a week from as_of without practice; null once it ended.")
    ]
    urgency: Annotated[Level, Meta(description="How urgent a review is.")]
    is_active: Annotated[bool, Meta(description="Whether the skill is still below what it was.")]
    resolved_at: Annotated[Instant | None, Meta(description="When it had come back.")]
    user_reviewed: Annotated[bool, Meta(description="Whether practice brought it back.")]


class Regressions(Prediction, frozen=True, kw_only=True, gc=False):
    """A skill's regression: the open one, or else the newest of those that ended."""

    model: Model
    catalogue_revision: Revision = None
    user_id: User
    organization_id: Tenant = None
    skill_id: Annotated[Id, Meta(description="The skill.")]
    skill_name: Annotated[Name, Meta(description="What people call it; its id where nothing else is known.")]
    detected_at: Annotated[Instant, Meta(description="When it began; names the episode.")]
    peak_mastery: Annotated[Hundredths, Meta(description="The highest mastery reached, 0 to 1.")]
    current_mastery: Annotated[Hundredths, Meta(description="Mastery as of the moment, 0 to 1.")]
    regression_amount: Annotated[Hundredths, Meta(description="Peak less current mastery.")]
    days_since_practice: Annotated[Count, Meta(description="Days.")]
    last_practiced_at: Annotated[Instant, Meta(description="When it was last practised.")]
    predicted_mastery_in_week: Annotated[
        Hundredths | None, Meta(description="Mastery a week from as_of without practice; null once it ended.")
    ]
    urgency: Annotated[Level, Meta(description="How urgent a review is.")]
    is_active: Annotated[bool, Meta(description="Whether the skill is still below what it was.")]
    resolved_at: Annotated[Instant | None, Meta(description="When it had come back.")]
    user_reviewed: Annotated[bool, Meta(description="Whether practice brought it back.")]
    urgency_score: Annotated[Hundredths, Meta(description="How urgent a review is, 0 to 1.")]
    confidence: Confidence
    reason: Reason
    factors: Factors
    episodes: Annotated[
        list[RegressionEpisode], Meta(description="The last ones of this skill, oldest first.", min_length=1)
    ]


class Features(Struct, frozen=True, kw_only=True, gc=False):
    """What a struggle prediction was made from; null is unknown."""

    prereq_mastery: Annotated[Hundredths | None, Meta(description="Mastery of the prerequisites now.")]
    similar_performance: Annotated[Hundredths | None, Meta(description="Level of similar skills.")]
    content_difficulty: Annotated[Hundredths | None, Meta(description="0 (easy) to 1 (hard).")]
    recency: Annotated[Hundredths | None, Meta(description="Recall of the prerequisites, 1 is fresh.")]
    cognitive_load: Annotated[Hundredths | None, Meta(description="0 (rested) to 1.")]
    sentiment: Annotated[Hundredths | None, Meta(description="0 (bad) to 1 (good).")]


class HelpAction(Struct, frozen=True, kw_only=True, gc=False):
    """A button under an offer of help."""

    type: Annotated[HelpType, Meta(description="What it does.")]
    label: Annotated[str, Meta(description="Text to show.")]


class Struggle(Prediction, frozen=True, kw_only=True, gc=False):
    """How likely a learner is to struggle with a content."""

    predicted_at: SameMoment
    model: Model
    catalogue_revision: Revision = None
    user_id: User
    organization_id: Tenant = None
    request_id: Annotated[Id, Meta(description="The request that it answers.")]
    content_id: Annotated[Id, Meta(description="The content; the request's id where it names none.")]
    content_type: Annotated[TypeName, Meta(description="As asked; unknown where it was not said.")]
    struggle_probability: Annotated[Hundredths, Meta(description="0 (easy) to 1 (will struggle).")]
    confidence: Confidence
    reason: Reason
    should_offer_help: Annotated[bool, Meta(description="Whether to offer help before the learner starts.")]
    help_message: Annotated[str | None, Meta(description="What to say, if help is to be offered.")]
    actions: Annotated[list[HelpAction], Meta(description="The choices that go with it.")]
    features: Annotated[Features, Meta(description="What it was made from.")]
    factors: Factors
    prereq_mastery: Annotated[Hundredths | None, Meta(description="As in features.")]
    similar_performance: Annotated[Hundredths | None, Meta(description="As in features.")]
    content_difficulty: Annotated[Hundredths | None, Meta(description="As in features.")]
    days_since_review: Annotated[
        Count | None, Meta(description="Days since the prerequisite practised longest ago.")
    ]
    cognitive_load: Annotated[Hundredths | None, Meta(description="As in features.")]
    sentiment_trend: Annotated[
        Signed | None, Meta(description="Mean sentiment of a week, -1 (bad) to 1 (good).")
    ]
    content_metadata: Annotated[ContentMetadata, Meta(description="As asked.")]
    requested_at: Annotated[Instant, Meta(description="When it was asked.")]
    answered: Annotated[
        FirstAnswer | None, Meta(description="What the request was told when it came; stays as it was.")
    ] = None
