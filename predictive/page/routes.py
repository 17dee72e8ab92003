"""``GET /insights/{user_id}`` as a page, for any FastAPI app to include.

The app brings two FastAPI dependencies: `authorize` returns the viewer or raises, `read` returns the page's
data. They take the session, the token (header ``Authorization: Bearer`` or cookie ``lyo_token``) and the
clock as the app's other endpoints do.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from lyo.predictive.head import HeadRoute
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
    """Status and headers of an error, as `lyo.predictive.api.problems.Problem` has them."""

    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class _Known:
    status: int
    headers: Mapping[str, str]


def token_of(request: Request) -> str | None:
    """The Authorization header of the request, else one made from the cookie; None if there is neither."""
    header = request.headers.get("authorization")
    cookie = request.cookies.get(COOKIE)
    return header if header is not None or not cookie else f"Bearer {cookie}"


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
        refusal_of: status and headers for an error of either, None for an unexpected one; without it only
            FastAPI's own errors are shown as pages.
        frame_ancestors: origins that may show the page in a frame.
    """
    security = _HEADERS | {"Content-Security-Policy": policy(tuple(frame_ancestors))}
    router = APIRouter(route_class=_route(refusal_of or (lambda _: None), security))

    # Annotations are evaluated here (no `from __future__` in this module): they name this call's arguments.
    # The viewer comes first, so that nothing is read for a viewer who is refused.
    @router.get("/insights/{user_id}", response_class=HTMLResponse, include_in_schema=False)
    async def insights_page(
        viewer: Annotated[Viewer, Depends(authorize)], data: Annotated[PageData, Depends(read)]
    ) -> HTMLResponse:
        return HTMLResponse(render(build(data, own=viewer.own)), headers=security)

    return router


def _route(refusal_of: Callable[[Exception], Refusal | None], security: Mapping[str, str]) -> type[HeadRoute]:
    class PageRoute(HeadRoute):
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
    """Status and headers of FastAPI's own errors; a path without a valid learner id does not exist (404)."""
    if isinstance(error, RequestValidationError):
        path = any(problem["loc"][:1] == ("path",) for problem in error.errors())
        return _Known(404 if path else 422, {})
    if isinstance(error, HTTPException):
        return _Known(error.status_code, error.headers or {})
    return None
