"""What the router needs from the app that includes it: sessions, sign-in, a clock, the topics' names.

A host app calls `configure` once; without, they are what the environment describes, as for `lyo api`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Annotated, Final, TypeAlias

from fastapi import Depends, FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.security import HTTPBearer
from pydantic import WithJsonSchema
from sqlalchemy.ext.asyncio import AsyncSession

from lyo.models.predictions.kinds import PredictionKind
from lyo.predictive.answers.reading import LearnerQuery, LearnerSnapshot
from lyo.predictive.answers.request_batcher import RequestBatcher
from lyo.predictive.api.access.caller import Caller, subject
from lyo.predictive.api.fields import INSTANT, LARGEST_ID, Instant, UserId
from lyo.predictive.api.problems import Problem
from lyo.storage.database import autocommitting
from lyo.streams import log
from lyo.streams.clock import Clock
from lyo.streams.topics import Names

Sessions: TypeAlias = Callable[[], AsyncSession]
SignIn: TypeAlias = Callable[[Request], Awaitable[Caller]]

_CALLER_KEY: Final = "lyo.caller"
_log = log.logger("api")


@dataclass(slots=True)
class Service:
    """The dependencies of the endpoints.

    Args:
        sessions: makes a session, as an `async_sessionmaker` does.
        sign_in: returns the caller of a request; raises `Problem` to refuse it.
        clock: returns milliseconds since the epoch.
        names: the topics that requests and outcomes go to.

    Attributes:
        reads: reads learners, those of concurrent requests in one batch.
    """

    sessions: Sessions
    sign_in: SignIn
    clock: Callable[[], int] = field(default_factory=lambda: Clock().now)
    names: Names = field(default_factory=Names)
    reads: RequestBatcher = field(init=False)

    def __post_init__(self) -> None:
        self.reads = RequestBatcher(self.sessions, self.names)


def configure(app: FastAPI, service: Service) -> None:
    """Give the router of `app` its dependencies."""
    app.state.predictive = service


def _service(request: Request) -> Service:
    service: Service | None = getattr(request.app.state, "predictive", None)
    if service is None:
        # It imports this module.
        from lyo.predictive.api.app import service_of_environment

        service = request.app.state.predictive = service_of_environment()
    return service


async def sign_in(request: Request) -> Caller:
    """The caller of the request. The service's sign-in runs once for each request.

    Raises:
        Problem: the service refuses the caller.
    """
    who: Caller | None = request.scope.get(_CALLER_KEY)
    if who is None:
        who = request.scope[_CALLER_KEY] = await _service(request).sign_in(request)
    return who


class _SignedIn(HTTPBearer):
    """A dependency that returns the caller; in OpenAPI, a bearer token."""

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]
        """The caller of the request."""
        return await sign_in(request)


caller: Final = _SignedIn(
    bearerFormat="JWT",
    scheme_name="token",
    description="A learner's token, or one with the service role; the tenant comes from the token.",
)
"""The dependency that returns the caller."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What every request about a learner has: the learner, the caller's tenant, the time.

    Attributes:
        service: the dependencies.
        user_id: the learner.
        organization: the tenant that the caller is restricted to; None: any.
        now: the clock at the request, ms.
        at: the moment asked about, ms; None: now.
        own: the caller is the learner.
    """

    service: Service
    user_id: int
    organization: int | None
    now: int
    at: int | None = None
    own: bool = False

    async def learner(self, *kinds: PredictionKind, at: int | None = None) -> LearnerSnapshot:
        """The learner, read with the kinds, as of ``at`` (ms), else of the request's moment.

        Raises:
            Problem: 404 for a learner of another tenant, as for one who does not exist there.
        """
        moment = self.at if at is None else at
        moment = self.now if moment is None else moment
        query = LearnerQuery(self.user_id, self.organization, moment, self.now, kinds, self.own)
        learner = await self.service.reads.read(query)
        if learner.foreign:
            _log.warning("404: a caller asked for a learner of another tenant")
            raise Problem(404, "Your organization has no such learner.")
        return learner

    def session(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A session for writes. It commits each statement, so what belongs together is one statement."""
        return autocommitting(self.service.sessions)


def not_owned() -> Problem:
    """404 for a tenant that asks to erase a learner whom no stored row names as the tenant's."""
    _log.warning("404: a tenant asked to erase a learner whom no stored row names as its own")
    return Problem(
        404,
        "Nothing stored names this learner as your organization's: nothing is known of them, or their events "
        "name no organization. Publish an event of theirs with organization_id first, have the learner ask "
        "with their own token, or have an operator run lyo erase.",
    )


# An address cannot say null, so the schema of a parameter that may be left out has none.
_At: TypeAlias = Annotated[
    Instant | None,
    WithJsonSchema(dict(INSTANT)),
    Query(
        description="The moment to answer for, RFC 3339; now, if none is named. May lie in the future.",
        examples=["2026-01-01T12:00:00Z"],
    ),
]
_UserId: TypeAlias = Annotated[
    UserId | None,
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": LARGEST_ID}),
    Query(description="The learner; only for the service role, which has to name one.", examples=[123]),
]
_PathUserId: TypeAlias = Annotated[UserId, PathParameter(description="The learner.", examples=[123])]
_Caller: TypeAlias = Annotated[Caller, Depends(caller)]


async def _about_now(request: Request, who: _Caller, user_id: _UserId = None) -> RequestContext:
    return _context(request, who, user_id)


async def _about_a_moment(
    request: Request, who: _Caller, user_id: _UserId = None, at: _At = None
) -> RequestContext:
    return _context(request, who, user_id, at)


async def _about_learner(request: Request, who: _Caller, user_id: _PathUserId) -> RequestContext:
    return _context(request, who, user_id)


def _context(request: Request, who: Caller, user_id: int | None, at: int | None = None) -> RequestContext:
    service = _service(request)
    user = subject(who, user_id)
    return RequestContext(service, user, who.organization, service.clock(), at, own=not who.service)


AboutNow: TypeAlias = Annotated[RequestContext, Depends(_about_now)]
AboutAMoment: TypeAlias = Annotated[RequestContext, Depends(_about_a_moment)]
AboutLearner: TypeAlias = Annotated[RequestContext, Depends(_about_learner)]
