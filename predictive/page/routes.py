"""``GET /insights/{user_id}`` as a page, for any FastAPI app to include.

The app brings two dependencies: `authorize` says who may look (or raises), `read` gives what is shown. Both
are ordinary FastAPI dependencies, so they take the session, the token (header ``Authorization: Bearer`` or
cookie ``lyo_token``) and the clock as the app's other endpoints do.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from lyo.predictive.page.rendering import policy, render, render_error
from lyo.predictive.page.view import PageData, build

__all__ = ["COOKIE", "Refusal", "Viewer", "create_router", "token_of"]

COOKIE: Final = "lyo_token"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at the page.

    Args:
        organization: the tenant that the viewer is restricted to; None for one who may see all.
        own: the viewer is the learner.
    """

    organization: int | None
    own: bool


class Refusal(Protocol):
    """What an error means for the client, as `lyo.predictive.api.problems.Problem` says it."""

    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class _Known:
    status: int
    headers: Mapping[str, str]


def token_of(request: Request) -> str | None:
    """The value of an Authorization header: the request's own, else made of the cookie; None without both."""
    given = request.headers.get("authorization")
    cookie = request.cookies.get(COOKIE)
    return given if given is not None or not cookie else f"Bearer {cookie}"


def create_router(
    read: Callable[..., Any],
    authorize: Callable[..., Any],
    *,
    refusal_of: Callable[[Exception], Refusal | None] | None = None,
    frame_ancestors: Sequence[str] = (),
) -> APIRouter:
    """The router with the page.

    Args:
        read: a dependency that gives the `PageData` of the path's ``user_id``.
        authorize: a dependency that gives the `Viewer`, or raises; it runs before `read`.
        refusal_of: what an error of either means, None for one that nobody foresaw; without it only
            FastAPI's own errors are shown as pages.
        frame_ancestors: origins that may show the page in a frame.
    """
    security = _HEADERS | {"Content-Security-Policy": policy(tuple(frame_ancestors))}
    router = APIRouter(route_class=_route(refusal_of or (lambda _: None), security))

    # Annotations are evaluated here (no `from __future__` in this module): they name this call's arguments.
    # The viewer stands first: who may not look does not have anything read.
    @router.get("/insights/{user_id}", response_class=HTMLResponse, include_in_schema=False)
    async def insights_page(
        viewer: Annotated[Viewer, Depends(authorize)], data: Annotated[PageData, Depends(read)]
    ) -> HTMLResponse:
        return HTMLResponse(render(build(data, own=viewer.own)), headers=security)

    return router


def _route(refusal_of: Callable[[Exception], Refusal | None], security: Mapping[str, str]) -> type[APIRoute]:
    class PageRoute(APIRoute):
        """A route whose errors are pages."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                try:
                    return await handle(request)
                except Exception as error:
                    refusal = _usual(error) or refusal_of(error)
                    if refusal is None:
                        raise
                    headers = {**refusal.headers, **security}
                    page = render_error(refusal.status, refusal.headers.get("Retry-After"))
                    return HTMLResponse(page, refusal.status, headers)

            return answer

    return PageRoute


def _usual(error: Exception) -> Refusal | None:
    """FastAPI's own errors; an address whose learner is no id is one that does not exist."""
    if isinstance(error, RequestValidationError):
        path = any(one["loc"][:1] == ("path",) for one in error.errors())
        return _Known(404 if path else 422, {})
    if isinstance(error, HTTPException):
        return _Known(error.status_code, error.headers or {})
    return None
