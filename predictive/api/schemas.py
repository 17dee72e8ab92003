"""Answers of the HTTP API (specification, "API Endpoints"): its exact names; further fields are optional.

`lyo.predictive.answers` builds the answers; these models document them, and tests hold the answers to them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, create_model

from lyo.models.predictions import types
from lyo.predictive.answers.responses import JUDGED_BY
from lyo.predictive.api import examples
from lyo.predictive.api.fields import Count, Moment, Probability, of_record
from lyo.predictive.api.requests import shown

# -- fields that every answer may have ----------------------------------------------------------------------


class Computed(BaseModel):
    """What the answer was computed from."""

    as_of: Moment | None = Field(
        None,
        description="The moment computed for, with everything up to it taken into account; "
        "where the stored rows lag behind, up to when they are complete.",
    )
    stale: bool | None = Field(
        None, description="The stored rows lag behind, so newer events may be missing; null: not known."
    )
    reason: str | None = Field(None, description="Why the answer is neutral, or not stored.")


# -- answers ------------------------------------------------------------------------------------------------


@of_record(types.Struggle, specified=examples.STRUGGLE_RESPONSE)
class StruggleAnswer(Computed):
    """How likely the learner is to struggle with a content."""


class StruggleResponse(StruggleAnswer):
    """A struggle prediction that is stored, so that its outcome can be joined."""

    model_config = shown(examples.STRUGGLE_RESPONSE)

    prediction_id: int
    request_id: str | None = None


class RankedContent(StruggleAnswer):
    """A content's struggle prediction and its place in the request's list."""

    model_config = shown(examples.RANKED_CONTENT)

    position: Count


class OutcomeResponse(BaseModel):
    """The outcome is sent to the stream; the prediction shows it once the stream has read it."""

    model_config = shown(examples.OUTCOME_RESPONSE)

    success: bool = Field(description="False: the learner is erased, and nothing is recorded.")
    message: str
    event_id: str | None = None


class OutcomesResponse(BaseModel):
    """The outcomes are sent to the stream, in their order; rows show them once the stream has read them."""

    model_config = shown(examples.OUTCOMES_RESPONSE)

    success: bool = Field(description="False: the learner is erased, and nothing is recorded.")
    message: str
    event_ids: list[str]


@of_record(types.DropoutRisk, specified=examples.DROPOUT_RISK)
class DropoutRisk(Computed):
    """How likely the learner is to drop out."""

    model_config = shown(examples.DROPOUT_RISK)

    strategy_executed: bool | None = None
    strategy_executed_at: Moment | None = None
    user_returned: bool | None = None
    returned_at: Moment | None = None


@of_record(types.TimingProfile, specified=examples.TIMING_PROFILE)
class TimingProfile(Computed):
    """When the learner learns, in their own time zone."""

    model_config = shown(examples.TIMING_PROFILE)

    optimal_study_time: str | None = Field(pattern=r"^[0-2][0-9]:[0-5][0-9]:[0-5][0-9]$")


@of_record(types.TimingProfile, specified=(), only=(*JUDGED_BY, "factors"))
class TimingResponse(Computed):
    """Whether a moment is a good one to reach the learner."""

    model_config = shown(examples.TIMING_RESPONSE)

    is_good_time: bool
    reasoning: str
    alternative_time: Moment | None = Field(
        description="The next good moment; null: this one is good, or none lies within two weeks."
    )
    score: Probability | None = None
    confidence: Probability | None = None
    studied_today: bool | None = None
    timezone: str | None = None


@of_record(types.Plateaus, specified=examples.PLATEAU)
class Plateau(Computed):
    """A topic on which the learner is stuck."""

    model_config = shown(examples.PLATEAU)

    plateau_id: int | None = Field(description="Null: found for this moment and not stored yet.")
    intervention_suggested: str | None
    intervention_taken: bool | None = None


@of_record(types.Regressions, specified=examples.REGRESSION)
class Regression(Computed):
    """A skill that the learner is losing."""

    model_config = shown(examples.REGRESSION)

    regression_id: int | None = Field(description="Null: found for this moment and not stored yet.")
    reminder_sent: bool
    reminder_sent_at: Moment | None = None
    reviewed_at: Moment | None = None


class PriorityAction(BaseModel):
    """Something that calls for action now."""

    type: str
    message: str
    action: str
    priority: int | None = Field(None, ge=1, le=10)
    skill_id: str | None = Field(None, description="The skill that it is about, if it is about one.")


class Insights(BaseModel):
    """Everything in one answer."""

    model_config = shown(examples.INSIGHTS)

    user_id: int
    dropout_risk: DropoutRisk
    active_plateaus: list[Plateau]
    skill_regressions: list[Regression]
    timing_profile: TimingProfile
    is_good_time_now: bool
    total_insights: Count
    priority_actions: list[PriorityAction]
    generated_at: Moment
    stale: bool | None = None


class ErasureProgress(BaseModel):
    """How far the erasure of a learner has come."""

    model_config = shown(examples.ERASURE_REQUESTED, examples.ERASURE_DONE)

    user_id: int
    status: Literal["not_requested", "requested", "sent", "done"]
    requested_at: Moment | None
    sent_at: Moment | None
    event_id: str | None
    remaining: dict[str, int] = Field(description="Rows that are still stored, by table.")
    message: str
    removed: dict[str, int] = Field({}, description="Rows that were deleted, by table.")
    removed_at: Moment | None = None
    topics_removed: dict[str, int] = Field(
        {}, description="Keys whose values were replaced by tombstones, by topic."
    )
    topics_removed_at: Moment | None = None
    compacted_by: Moment | None = Field(
        None, description="When Kafka has to have compacted the old values, as soon as more is written."
    )
    tombstones_until: Moment | None = Field(
        None, description="When the tombstones, which hold nothing but keys, may go, too."
    )
    fence_at: Moment | None = Field(None, description="The time of the request that this progress is about.")
    consented_at: Moment | None = Field(None, description="The consent from which on events count again.")
    kept: list[str] = Field([], description="What an erasure leaves.")


def of_kind(record: type[types.Prediction]) -> type[BaseModel]:
    """The answer of a kind that the specification has no endpoint for: its record, and how complete it is."""
    name, doc = record.__name__, " ".join((record.__doc__ or "").split())
    return of_record(record)(create_model(name, __base__=Computed, __doc__=doc))


# -- errors and health --------------------------------------------------------------------------------------


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457 problem details."""

    model_config = shown(examples.PROBLEM)

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None


class Check(BaseModel):
    """One condition of being ready."""

    name: str
    ok: bool
    why: str


class Health(BaseModel):
    """Whether the process is alive, or ready for requests, and why."""

    status: Literal["alive", "ready", "not ready"]
    why: str
    checks: list[Check] | None = None
