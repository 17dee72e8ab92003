"""The learner's page, with the sign-in, sessions and clock of `predictive.service` behind it."""

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Depends

from predictive import answers, service
from predictive.caller import Caller, subject
from predictive.fields import UserId
from predictive.pages.reading import read_page
from predictive.pages.routes import Viewer, create_router
from predictive.pages.view import PageData
from predictive.problems import Problem, of

__all__ = ["PATH", "router"]

PATH: Final = "/insights/"


# FastAPI reads these annotations when the router is made (no `from __future__` in this module).
async def _viewer(user_id: UserId, who: Annotated[Caller, Depends(service.caller)]) -> Viewer:
    subject(who, user_id)
    return Viewer(who.organization, own=not who.service)


async def _read(viewer: Annotated[Viewer, Depends(_viewer)], asked: service.AboutLearner) -> PageData:
    user_id, organization = asked.user_id, viewer.organization
    if await answers.is_foreign(asked.reads, user_id=user_id, organization=organization):
        raise Problem(404, "Your organization has no such learner.")
    insights = partial(answers.insights, now=asked.now, names=asked.service.names)
    async with asked.session() as db:
        return await read_page(db, user_id, organization, asked.now, insights=insights)


def router() -> APIRouter:
    """``GET /insights/{user_id}``, for an app that `service.configure` was called with."""
    return create_router(_read, _viewer, refusal_of=of)
