"""The endpoints of the specification and three more, for any FastAPI app to include under ``/api/v1``.

Answers go out as they are: `learner_responses` and `answers` give plain JSON types, and tests hold them to
the models that are documented here.
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
from lyo.predictive.answers.reading import Seen
from lyo.predictive.api import requests
from lyo.predictive.api import schemas as s
from lyo.predictive.api.documented import errors
from lyo.predictive.api.error_handlers import ProblemRoute
from lyo.predictive.api.fields import Switch, answer_schema
from lyo.predictive.api.service import AboutAMoment, AboutLearner, AboutNow, Question, not_owned

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


def _json(found: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(found), status, _NO_STORE, "application/json")


def _about(asked: Question, seen: Seen) -> dict[str, Any]:
    """What every function of `answers` takes that writes about a learner."""
    return {
        "user_id": asked.user_id,
        "organization": asked.organization,
        "at": seen.asked.at,
        "now": asked.now,
        "names": asked.service.names,
        "seen": seen,
    }


@router.post(
    "/struggle/predict",
    summary="Predict whether the learner will struggle with a content",
    response_model=s.StruggleResponse,
    responses=_POSTING,
)
async def predict_struggle(body: requests.StruggleRequest, asked: AboutAMoment) -> Response:
    """The prediction is stored with what it saw, so that its outcome can be joined to it."""
    seen, content = await asked.seen(STRUGGLE), body.content_metadata.model_dump(exclude_unset=True)
    async with asked.session() as db:
        found = await answers.predict_struggle(
            db, **_about(asked, seen), content_metadata=content, request_id=body.request_id
        )
    return _json(found)


@router.post(
    "/struggle/rank",
    summary="Rank many contents by how likely the learner is to struggle, the easiest first",
    response_model=list[s.RankedContent],
    responses=_POSTING,
)
async def rank_struggle(body: requests.RankRequest, asked: AboutAMoment) -> Response:
    """Answers for at most 50 contents in one call; nothing is stored."""
    seen = await asked.seen(STRUGGLE)
    contents = [each.model_dump(exclude_unset=True) for each in body.contents]
    return _json(learner_responses.ranked(seen, contents))


@router.post(
    "/struggle/record-outcome",
    summary="Record what came of an attempt at a content",
    response_model=s.OutcomeResponse,
    responses=_POSTING,
)
async def record_outcome(body: requests.OutcomeRequest, asked: AboutNow) -> Response:
    """The outcome goes out to the stream; the stored prediction shows it once the stream has seen it."""
    seen = await asked.seen()
    async with asked.session() as db:
        found = await answers.record_outcome(
            db,
            **_about(asked, seen),
            content_id=body.content_id,
            struggled=body.struggled,
            completion_time_seconds=body.completion_time_seconds,
            gave_up=body.gave_up,
            event_id=body.event_id,
        )
    return _json(found)


@router.get(
    "/dropout/risk",
    summary="How likely the learner is to drop out, and why",
    response_model=s.DropoutRisk,
    responses=_READING,
)
async def dropout_risk(asked: AboutAMoment) -> Response:
    """Computed for the moment asked about: silence counts up to then."""
    return _json(learner_responses.dropout_risk(await asked.seen(DROPOUT_RISK)))


@router.get(
    "/timing/profile",
    summary="When the learner learns",
    response_model=s.TimingProfile,
    responses=_READING,
)
async def timing_profile(asked: AboutAMoment) -> Response:
    """Hours and days are the learner's own; what is not known yet is null or empty."""
    return _json(learner_responses.timing_profile(await asked.seen(TIMING)))


@router.post(
    "/timing/check",
    summary="Whether a moment is a good one to reach the learner",
    response_model=s.TimingResponse,
    responses=_POSTING,
)
async def timing_check(asked: AboutNow, body: requests.TimingRequest | None = None) -> Response:
    """Without a body, or without `current_time`, it is about now."""
    at = None if body is None else body.current_time
    return _json(learner_responses.timing_check(await asked.seen(TIMING, at=at)))


@router.get(
    "/plateaus",
    summary="Topics on which the learner is stuck",
    response_model=list[s.Plateau],
    responses=_READING,
)
async def plateaus(asked: AboutAMoment, active_only: _ActiveOnly = True) -> Response:
    """The longest first; with `active_only=false` those that have ended, too."""
    seen = await asked.seen(PLATEAUS)
    return _json(learner_responses.plateaus(seen, active_only=active_only))


@router.get(
    "/regressions",
    summary="Skills that the learner is losing",
    response_model=list[s.Regression],
    responses=_READING,
)
async def regressions(asked: AboutAMoment, active_only: _ActiveOnly = True) -> Response:
    """The most urgent first; with `active_only=false` those that have ended, too."""
    seen = await asked.seen(REGRESSIONS)
    return _json(learner_responses.regressions(seen, active_only=active_only))


@router.get(
    "/insights",
    summary="Everything in one call",
    response_model=s.Insights,
    responses=_READING,
)
async def insights(asked: AboutAMoment) -> Response:
    """Risk, plateaus, regressions, timing, and what to do first."""
    return _json(learner_responses.insights(await asked.seen(*KINDS)))


def add_kind(kind: PredictionKind) -> None:
    """Give a kind that the specification has no endpoint for one under its own name."""

    async def answer(asked: AboutAMoment) -> Response:
        return _json(learner_responses.of_kind(await asked.seen(kind), kind))

    found = answer_schema(kind.record)
    schema = {"type": "array", "items": found} if kind.subject else found
    said = " ".join((kind.record.__doc__ or "").split())
    content = {"description": said, "content": {"application/json": {"schema": schema}}}
    router.add_api_route(
        f"/{kind.name}",
        answer,
        name=kind.name.replace("-", "_"),
        summary=said.rstrip("."),
        responses={**_READING, 200: content},
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
async def request_erasure(asked: AboutLearner) -> Response:
    """The request goes out to the stream; asking again while it is under way changes nothing."""
    seen = await asked.seen()
    if not seen.owned:
        raise not_owned()
    async with asked.session() as db:
        found = await answers.request_erasure(db, **_about(asked, seen))
    return _json(found, 202)


@router.get(
    "/learners/{user_id}/erasure",
    summary="How far the erasure of a learner has come",
    response_model=s.ErasureProgress,
    responses=_READING,
)
async def erasure_progress(asked: AboutLearner) -> Response:
    """What is still stored, by table."""
    seen, names = await asked.seen(), asked.service.names
    async with asked.session() as db:
        found = await answers.erasure_progress(
            db, user_id=asked.user_id, organization=asked.organization, names=names, seen=seen
        )
    if not seen.owned and found["fence_at"] is None:  # a fence that names the tenant is of its own erasure
        raise not_owned()
    return _json(found)
