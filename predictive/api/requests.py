"""Requests of the HTTP API (specification, "API Endpoints"); unknown fields are ignored."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lyo.models.events.types import OutcomeKind
from lyo.predictive.api import examples
from lyo.predictive.api.fields import (
    MOST_ENTRIES,
    Flag,
    Id,
    Instant,
    References,
    Seconds,
    Share,
    TypeName,
)


def shown(*examples_of_it: Any) -> ConfigDict:
    """A model's configuration with examples for OpenAPI."""
    return ConfigDict(json_schema_extra={"examples": list(examples_of_it)})


class ContentMetadata(BaseModel):
    """The content asked about; what is left out is taken from the catalogue."""

    content_id: Id
    type: TypeName | None = None
    difficulty_rating: Share | None = None
    prerequisites: References | None = Field(None, description="Skills that it builds on.")
    similar_topics: References | None = Field(None, description="Contents, topics or skills like it.")


class StruggleRequest(BaseModel):
    """Ask whether the learner will struggle with a content."""

    model_config = shown(examples.STRUGGLE_REQUEST)

    content_metadata: ContentMetadata
    request_id: Id | None = Field(
        None,
        description="A repeated id gets the first answer, until another request about the content came.",
    )


class RankRequest(BaseModel):
    """Ask the same of many contents at once; nothing is stored."""

    model_config = shown(examples.RANK_REQUEST)

    contents: list[ContentMetadata] = Field(min_length=1, max_length=MOST_ENTRIES)


class OutcomeRequest(BaseModel):
    """What came of the learner's attempt at a content."""

    model_config = shown(examples.OUTCOME_REQUEST)

    content_id: Id
    struggled: Flag
    completion_time_seconds: Seconds | None = None
    gave_up: Flag | None = None
    event_id: Id | None = Field(None, description="The same id again counts once.")


class Outcome(BaseModel):
    """One outcome of any kind, as on the topic of outcomes."""

    event_id: Id = Field(description="The same id again counts once.")
    occurred_at: Instant = Field(description="When it happened, RFC 3339 with an offset.")
    kind: OutcomeKind
    prediction_id: Id | None = None
    content_id: Id | None = Field(None, description="For struggled, not_struggled and help_....")
    skill_id: Id | None = Field(None, description="For intervention_taken, reminder_sent and reviewed.")
    completion_time_seconds: Seconds | None = None
    gave_up: Flag | None = None
    variant: TypeName | None = Field(None, description="The arm of an experiment.")


class OutcomesRequest(BaseModel):
    """Outcomes of one learner: all are recorded, or none."""

    model_config = shown(examples.OUTCOMES_REQUEST)

    outcomes: list[Outcome] = Field(min_length=1, max_length=MOST_ENTRIES)


class TimingRequest(BaseModel):
    """The moment to judge; now, if none is named."""

    model_config = shown(examples.TIMING_REQUEST)

    current_time: Instant | None = None
