"""HEAD wherever GET is (RFC 9110, 9.3.2), in any app that a router is included in."""

from __future__ import annotations

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

__all__ = ["HeadRoute"]


class HeadRoute(APIRoute):
    """A route that answers HEAD as GET; the server leaves the body out, and OpenAPI lists GET alone."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the route serves the request, and what it adds to the scope."""
        return super().matches(_as_get(scope))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        await super().handle(_as_get(scope), receive, send)


def _as_get(scope: Scope) -> Scope:
    return {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope
