"""What the router needs of the app that includes it: sessions, who asks, the time, the topics' names.

A host app calls `configure` once; `lyo.predictive.api.app` does it for `lyo api`.
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
from lyo.predictive.answers.reading import Asked, Seen
from lyo.predictive.answers.request_batcher import Together
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
    """What requests are answered with.

    Args:
        sessions: makes a session, as an `async_sessionmaker` does.
        sign_in: who sent a request; raises `Problem` to refuse it.
        clock: milliseconds since the epoch.
        names: the topics that requests and outcomes go to.

    Attributes:
        reads: answers what is asked about one learner, together with what others ask at the same time.
    """

    sessions: Sessions
    sign_in: SignIn
    clock: Callable[[], int] = field(default_factory=lambda: Clock().now)
    names: Names = field(default_factory=Names)
    reads: Together = field(init=False)

    def __post_init__(self) -> None:
        self.reads = Together(self.sessions, self.names)


def configure(app: FastAPI, service: Service) -> None:
    """Tell the router of `app` what to answer with."""
    app.state.predictive = service


def _service(request: Request) -> Service:
    found: Service | None = getattr(request.app.state, "predictive", None)
    if found is None:
        raise RuntimeError(
            "call lyo.predictive.api.service.configure(app, Service(...)) before the first request"
        )
    return found


async def sign_in(request: Request) -> Caller:
    """Who sent the request; the service is asked once, however often this is.

    Raises:
        Problem: the service refuses the caller.
    """
    found: Caller | None = request.scope.get(_CALLER_KEY)
    if found is None:
        found = request.scope[_CALLER_KEY] = await _service(request).sign_in(request)
    return found


class _SignedIn(HTTPBearer):
    """A dependency that is the caller; in OpenAPI, a bearer token."""

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]
        """Who sent the request."""
        return await sign_in(request)


caller: Final = _SignedIn(
    bearerFormat="JWT",
    scheme_name="token",
    description="A learner's token, or one with the service role; the tenant comes from the token.",
)
"""Who asks."""


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that an answer depends on besides what is asked: whose, for which tenant, when.

    own: the learner asks.
    """

    service: Service
    user_id: int
    organization: int | None
    now: int
    at: int | None = None
    own: bool = False

    async def seen(self, *kinds: PredictionKind, at: int | None = None) -> Seen:
        """The learner asked about, at the moment of the question, or at this one (ms).

        Raises:
            Problem: 404 for a learner of another tenant, as for one who does not exist there.
        """
        moment = self.at if at is None else at
        moment = self.now if moment is None else moment
        asked = Asked(self.user_id, self.organization, moment, self.now, kinds, self.own)
        seen = await self.service.reads.read(asked)
        if seen.foreign:
            _log.warning("404: a learner of another tenant was asked for")
            raise Problem(404, "Your organization has no such learner.")
        return seen

    def session(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A session for what is written; whatever belongs together goes into one statement."""
        return autocommitting(self.service.sessions)


def not_owned() -> Problem:
    """404 for a tenant who asks about the erasure of a learner whom nothing stored names as the tenant's."""
    _log.warning("404: a learner whom nothing names as the tenant's was to be erased")
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


async def _about_now(request: Request, who: _Caller, user_id: _UserId = None) -> Question:
    return _question(request, who, user_id)


async def _about_a_moment(
    request: Request, who: _Caller, user_id: _UserId = None, at: _At = None
) -> Question:
    return _question(request, who, user_id, at)


async def _about_learner(request: Request, who: _Caller, user_id: _PathUserId) -> Question:
    return _question(request, who, user_id)


def _question(request: Request, who: Caller, asked: int | None, at: int | None = None) -> Question:
    service = _service(request)
    user = subject(who, asked)
    return Question(service, user, who.organization, service.clock(), at, own=not who.service)


AboutNow: TypeAlias = Annotated[Question, Depends(_about_now)]
AboutAMoment: TypeAlias = Annotated[Question, Depends(_about_a_moment)]
AboutLearner: TypeAlias = Annotated[Question, Depends(_about_learner)]
