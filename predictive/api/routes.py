"""The endpoints of the specification and three more, for any FastAPI app to include under ``/api/v1``.

Answers are not validated on the way out: `learner_responses` and `answers` return plain JSON types, and tests
hold them to the models that are documented here.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response

from lyo.models.predictions.kinds import (
    ABOUT_LEARNERS,
    ABOUT_SKILLS,
    DROPOUT_RISK,
    KINDS,
    PLATEAUS,
    REGRESSIONS,
    STRUGGLE,
    TIMING,
    PredictionKind,
)
from lyo.predictive.answers import answers, learner_responses
from lyo.predictive.answers.reading import LearnerSnapshot
from lyo.predictive.api import requests
from lyo.predictive.api import schemas as s
from lyo.predictive.api.documented import errors
from lyo.predictive.api.error_handlers import ProblemRoute
from lyo.predictive.api.fields import Switch
from lyo.predictive.api.service import AboutAMoment, AboutLearner, AboutNow, RequestContext, not_owned

router = APIRouter(
    prefix="/predictive",
    tags=["Predictive Intelligence"],
    route_class=ProblemRoute,
    generate_unique_id_function=lambda route: f"predictive_{route.name}",
)

_NO_STORE: Final = {"Cache-Control": "no-store"}
_READING: Final = errors()
_POSTING: Final = errors(body=True)

_ActiveOnly: TypeAlias = Annotated[Switch, Query(description="Leave out what has ended.")]


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, _NO_STORE, "application/json")


def _about(context: RequestContext, learner: LearnerSnapshot) -> dict[str, Any]:
    """The arguments that all functions of `answers` share which write about a learner."""
    return {
        "user_id": context.user_id,
        "organization": context.organization,
        "at": learner.query.at,
        "now": context.now,
        "names": context.service.names,
        "learner": learner,
    }


@router.post(
    "/struggle/predict",
    summary="Predict whether the learner will struggle with a content",
    response_model=s.StruggleResponse,
    responses=_POSTING,
)
async def predict_struggle(body: requests.StruggleRequest, context: AboutAMoment) -> Response:
    """The prediction is stored with its features, so that its outcome can be joined to it."""
    learner, content = await context.learner(STRUGGLE), body.content_metadata.model_dump(exclude_unset=True)
    async with context.session() as db:
        answer = await answers.predict_struggle(
            db, **_about(context, learner), content_metadata=content, request_id=body.request_id
        )
    return _json(answer)


@router.post(
    "/struggle/rank",
    summary="Rank many contents by how likely the learner is to struggle, the easiest first",
    response_model=list[s.RankedContent],
    responses=_POSTING,
)
async def rank_struggle(body: requests.RankRequest, context: AboutAMoment) -> Response:
    """Answers for at most 50 contents in one call; nothing is stored."""
    learner = await context.learner(STRUGGLE)
    contents = [content.model_dump(exclude_unset=True) for content in body.contents]
    return _json(learner_responses.ranked(learner, contents))


@router.post(
    "/struggle/record-outcome",
    summary="Record what came of an attempt at a content",
    response_model=s.OutcomeResponse,
    responses=_POSTING,
)
async def record_outcome(body: requests.OutcomeRequest, context: AboutNow) -> Response:
    """The outcome is sent to the stream; the stored prediction shows it once the stream has read it."""
    learner = await context.learner()
    async with context.session() as db:
        answer = await answers.record_outcome(
            db,
            **_about(context, learner),
            content_id=body.content_id,
            struggled=body.struggled,
            completion_time_seconds=body.completion_time_seconds,
            gave_up=body.gave_up,
            event_id=body.event_id,
        )
    return _json(answer)


@router.post(
    "/outcomes",
    summary="Record outcomes of any kind",
    response_model=s.OutcomesResponse,
    responses=_POSTING,
)
async def record_outcomes(body: requests.OutcomesRequest, context: AboutNow) -> Response:
    """Help, strategies, reminders, interventions, answers: all are recorded, or none if one is refused."""
    learner = await context.learner()
    outcomes = [outcome.model_dump(mode="json", exclude_none=True) for outcome in body.outcomes]
    async with context.session() as db:
        answer = await answers.record_outcomes(db, **_about(context, learner), outcomes=outcomes)
    return _json(answer)


@router.get(
    "/dropout/risk",
    summary="How likely the learner is to drop out, and why",
    response_model=s.DropoutRisk,
    responses=_READING,
)
async def dropout_risk(context: AboutAMoment) -> Response:
    """Computed for the moment asked about, with the silence up to then."""
    return _json(learner_responses.dropout_risk(await context.learner(DROPOUT_RISK)))


@router.get(
    "/timing/profile",
    summary="When the learner learns",
    response_model=s.TimingProfile,
    responses=_READING,
)
async def timing_profile(context: AboutAMoment) -> Response:
    """Hours and days are the learner's own; what is not known yet is null or empty."""
    return _json(learner_responses.timing_profile(await context.learner(TIMING)))


@router.post(
    "/timing/check",
    summary="Whether a moment is a good one to reach the learner",
    response_model=s.TimingResponse,
    responses=_POSTING,
)
async def timing_check(context: AboutNow, body: requests.TimingRequest | None = None) -> Response:
    """Judges now if there is no body or no `current_time`."""
    at = None if body is None else body.current_time
    return _json(learner_responses.timing_check(await context.learner(TIMING, at=at)))


@router.get(
    "/plateaus",
    summary="Topics on which the learner is stuck",
    response_model=list[s.Plateau],
    responses=_READING,
)
async def plateaus(context: AboutAMoment, active_only: _ActiveOnly = True) -> Response:
    """The longest first; with `active_only=false` those that have ended, too."""
    learner = await context.learner(PLATEAUS)
    return _json(learner_responses.plateaus(learner, active_only=active_only))


@router.get(
    "/regressions",
    summary="Skills that the learner is losing",
    response_model=list[s.Regression],
    responses=_READING,
)
async def regressions(context: AboutAMoment, active_only: _ActiveOnly = True) -> Response:
    """The most urgent first; with `active_only=false` those that have ended, too."""
    learner = await context.learner(REGRESSIONS)
    return _json(learner_responses.regressions(learner, active_only=active_only))


@router.get(
    "/insights",
    summary="Everything in one call",
    response_model=s.Insights,
    responses=_READING,
)
async def insights(context: AboutAMoment) -> Response:
    """Risk, plateaus, regressions, timing, and what to do first."""
    return _json(learner_responses.insights(await context.learner(*KINDS)))


def add_kind(kind: PredictionKind) -> None:
    """Add an endpoint, under the kind's name, for a kind that has none in the specification."""

    async def handler(context: AboutAMoment) -> Response:
        return _json(learner_responses.of_kind(await context.learner(kind), kind))

    model: Any = s.of_kind(kind.record)
    router.add_api_route(
        f"/{kind.name}",
        handler,
        name=kind.name.replace("-", "_"),
        summary=model.__doc__.rstrip("."),
        response_model=list[model] if kind.subject else model,
        responses=_READING,
    )


for _kind in (*ABOUT_LEARNERS, *ABOUT_SKILLS):
    if _kind not in (DROPOUT_RISK, TIMING, PLATEAUS, REGRESSIONS):
        add_kind(_kind)


@router.delete(
    "/learners/{user_id}",
    summary="Ask that a learner be forgotten",
    status_code=202,
    response_model=s.ErasureProgress,
    responses=_READING,
)
async def request_erasure(context: AboutLearner) -> Response:
    """The request is sent to the stream; a repeated one changes nothing while it is under way."""
    learner = await context.learner()
    if not learner.owned:
        raise not_owned()
    async with context.session() as db:
        answer = await answers.request_erasure(db, **_about(context, learner))
    return _json(answer, 202)


@router.get(
    "/learners/{user_id}/erasure",
    summary="How far the erasure of a learner has come",
    response_model=s.ErasureProgress,
    responses=_READING,
)
async def erasure_progress(context: AboutLearner) -> Response:
    """What is still stored, by table."""
    learner, names = await context.learner(), context.service.names
    async with context.session() as db:
        answer = await answers.erasure_progress(
            db, user_id=context.user_id, organization=context.organization, names=names, learner=learner
        )
    if (
        not learner.owned and answer["fence_at"] is None
    ):  # a marker that names the tenant is of its own erasure
        raise not_owned()
    return _json(answer)
