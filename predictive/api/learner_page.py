"""The learner's page on the sign-in, sessions and clock of `lyo.predictive.api.service`."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends

from lyo.models.predictions.kinds import KINDS
from lyo.predictive.answers import learner_responses
from lyo.predictive.api import service
from lyo.predictive.api.access.caller import Caller, subject
from lyo.predictive.api.fields import UserId
from lyo.predictive.api.problems import of
from lyo.predictive.page.reading import read_page
from lyo.predictive.page.routes import Viewer, create_router
from lyo.predictive.page.view import PageData

__all__ = ["PATH", "router"]

PATH: Final = "/insights/"


# FastAPI reads these annotations when the router is made (no `from __future__` in this module).
async def _viewer(user_id: UserId, who: Annotated[Caller, Depends(service.caller)]) -> Viewer:
    subject(who, user_id)
    return Viewer(who.organization, own=not who.service)


async def _read(viewer: Annotated[Viewer, Depends(_viewer)], context: service.AboutLearner) -> PageData:
    insights = learner_responses.insights(await context.learner(*KINDS))
    # A learner of another tenant has been refused above. A learner sees all of their own page.
    organization = None if viewer.own else viewer.organization
    async with context.session() as db:
        return await read_page(db, context.user_id, organization, context.now, insights)


def router() -> APIRouter:
    """``GET /insights/{user_id}``, for an app on which `service.configure` was called."""
    return create_router(_read, _viewer, refusal_of=of)
