"""The record of the interventions topic: a decision to reach out, field by field in the topic's order."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from lyo.models.events.types import Id, Name, Number
from lyo.models.interventions.triggers import InterventionType
from lyo.models.predictions.types import Instant, Level, ZoneSource, open_list

__all__ = ["Intervention", "RefusedTime"]

Audience: TypeAlias = Annotated[str, open_list(("learner", "educator"))]
Status: TypeAlias = Annotated[str, open_list(("active", "superseded", "retracted"))]
Type: TypeAlias = Annotated[str, open_list(InterventionType)]
Message: TypeAlias = Annotated[str, Meta(max_length=1000)]


class RefusedTime(Struct, frozen=True, kw_only=True):
    """Candidate times, one or several in a row, that an intervention was not set to."""

    time: Annotated[Instant, Meta(description="The time; the first of several.")]
    reason: Annotated[str, Meta(description="Why not.")]
    until: Annotated[Instant | None, Meta(description="The last of several; null for one.")] = None


class Intervention(Struct, kw_only=True):
    """A decision to contact a learner or an educator, or its later state."""

    intervention_id: Annotated[Id, Meta(description="From learner, type and the episode's start.")]
    user_id: Annotated[Number, Meta(description="The learner whom it is about.")]
    organization_id: Annotated[Number | None, Meta(description="The learner's organization.")]
    audience: Annotated[Audience, Meta(description="Whom to reach.")]
    type: Annotated[Type, Meta(description="What sort of intervention.")]
    priority: Annotated[int, Meta(ge=1, le=10, description="1 to 10; 10 is the most urgent.")]
    title: Annotated[Name, Meta(description="Title to show.")]
    message: Annotated[Message, Meta(description="Text to show.")]
    action: Annotated[str, Meta(description="What the app is to open.")]
    because: Annotated[list[Id], Meta(description="Ids of the predictions that called for it.")]
    status: Annotated[Status, Meta(description="Only active ones are to be delivered.")]
    supersedes: Annotated[Id | None, Meta(description="The intervention that this one takes the place of.")]
    not_before: Annotated[Instant, Meta(description="When it may be delivered first.")]
    expires_at: Annotated[Instant, Meta(description="After this it is not to be delivered.")]
    refused: Annotated[list[RefusedTime], Meta(description="Earlier times, and why they were refused.")]
    as_of: Annotated[Instant, Meta(description="The moment that the decision holds for.")]
    skill_id: Annotated[Id | None, Meta(description="The skill that it is about, if it is about one.")]
    level: Annotated[Level | None, Meta(description="Of the dropout risk, or the regression's urgency.")]
    episode_start: Annotated[Instant | None, Meta(description="When what it is about began.")]
    timezone: Annotated[str | None, Meta(description="IANA time zone of the learner's day.")]
    reason: Annotated[str | None, Meta(description="Why it is no longer active, if so.")] = None
    changed_after: Annotated[
        Instant | None, Meta(description="End of the local day after which it ceased to be active.")
    ] = None
    timezone_source: ZoneSource = "unknown"
