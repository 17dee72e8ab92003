"""How every operation is handled: who asks, then what is sent; errors as problem details in any app."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from lyo.predictive.api.problems import Problem, of, response
from lyo.predictive.api.service import sign_in

HEADERS_KEY: Final = "lyo.headers"
"""Where a request's scope keeps headers for its answer, whatever that is."""


class ProblemRoute(APIRoute):
    """A route that reads nothing of a body before it knows who asks, and whose errors are problem details."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, which reads the body first and then asks its dependencies, after our sign-in."""
        handle = super().get_route_handler()
        takes_body = self.body_field is not None

        async def answer(request: Request) -> Response:
            try:
                await sign_in(request)
                if takes_body:
                    _check_media_type(request)
                given = await handle(request)
            except Exception as error:
                problem = of(error)
                if problem is None:
                    raise
                given = response(problem)
            for name, value in request.scope.get(HEADERS_KEY, {}).items():
                given.headers.setdefault(name, value)
            return given

        return answer


def _check_media_type(request: Request) -> None:
    given = request.headers.get("content-type")
    if given is None:
        has_body = request.headers.get("content-length", "0") != "0"
        if not has_body and "transfer-encoding" not in request.headers:
            return
    else:
        kind = given.partition(";")[0].strip().lower()
        if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
            return
    raise Problem(415, "The body must be application/json.", headers={"Accept": "application/json"})
