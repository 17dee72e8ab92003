"""How every operation is handled: sign-in first, then the body; errors are problem details in any app."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from lyo.predictive.api.problems import Problem, of, response
from lyo.predictive.api.service import sign_in
from lyo.predictive.head import HeadRoute

HEADERS_KEY: Final = "lyo.headers"
"""Where a request's scope keeps headers that its answer gets, an error too."""


class ProblemRoute(HeadRoute):
    """A route that signs the caller in before it reads a body, and whose errors are problem details."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, which reads the body before it runs dependencies, behind our sign-in."""
        handle = super().get_route_handler()
        takes_body = self.body_field is not None

        async def handler(request: Request) -> Response:
            try:
                await sign_in(request)
                if takes_body:
                    _check_media_type(request)
                answer = await handle(request)
            except Exception as error:
                problem = of(error)
                if problem is None:
                    raise
                answer = response(problem)
            for name, value in request.scope.get(HEADERS_KEY, {}).items():
                answer.headers.setdefault(name, value)
            return answer

        return handler


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type")
    if media_type is None:
        has_body = request.headers.get("content-length", "0") != "0"
        if not has_body and "transfer-encoding" not in request.headers:
            return
    else:
        kind = media_type.partition(";")[0].strip().lower()
        if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
            return
    raise Problem(415, "The body must be application/json.", headers={"Accept": "application/json"})
