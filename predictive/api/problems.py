"""Errors as RFC 9457 problem details: every refusal and failure has this shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from lyo.models.events.decode import EventError
from lyo.models.state.layout import LayoutError
from lyo.predictive.api.outage import why_away
from lyo.streams import log

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 2
_TYPE: Final = "urn:lyo:problem:"
_KINDS: Final = {
    400: "malformed-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "body-too-large",
    415: "unsupported-media-type",
    422: "invalid-request",
    429: "too-many-requests",
    500: "internal-error",
    503: "unavailable",
}
_log = log.logger("api")


class Problem(Exception):
    """A refusal or failure that the client is told about.

    Args:
        status: the HTTP status.
        detail: one sentence for people; never a secret, a value that was sent, or a trace.
        errors: pairs of a field's name and what is wrong with it.
        headers: more response headers.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def response(problem: Problem) -> Response:
    """The problem as a response."""
    body: dict[str, Any] = {
        "type": _TYPE + _KINDS.get(problem.status, "error"),
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = [{"field": field, "message": message} for field, message in problem.errors]
    headers = {"Cache-Control": "no-store"} | problem.headers
    return Response(orjson.dumps(body), problem.status, headers, MEDIA_TYPE)


def invalid(*errors: tuple[str, str]) -> Problem:
    """422 about fields: pairs of name and message."""
    return Problem(422, "; ".join(f"{field}: {message}" for field, message in errors), errors=errors)


def unavailable(why: str) -> Problem:
    """503 with the time after which to try again."""
    return Problem(503, why, headers={"Retry-After": str(RETRY_SECONDS)})


def of(error: Exception) -> Problem | None:
    """The problem that the client is told about for an error; None for an unexpected error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _refused_fields(error)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, _sentence(error), headers=error.headers)
    if isinstance(error, EventError):
        field = error.field or "body"
        return invalid((field, error.reason.removeprefix(f"{field}: ")))
    if isinstance(error, LayoutError):
        away: str | None = "The stored rows of this learner were written by another version."
    else:
        away = why_away(error)
    if away is None:
        return None
    _log.warning("503: %s", away)
    return unavailable(away)


def _sentence(error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return "There is nothing at this address."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return "This address does not take this method."
    return str(error.detail)


def _refused_fields(error: RequestValidationError) -> Problem:
    errors = error.errors()
    for refused in errors:
        if refused["type"] == "json_invalid":
            return Problem(
                400, f"The body is not JSON: {refused['ctx']['error']} at byte {refused['loc'][-1]}."
            )
    return invalid(*((field_name(refused["loc"]), _message(refused)) for refused in errors))


def _message(refused: Mapping[str, Any]) -> str:
    return str(refused["msg"]).removeprefix("Value error, ")


def field_name(location: tuple[int | str, ...]) -> str:
    """The field as its path: ``content_metadata.prerequisites[2]``; ``body`` for the body itself."""
    name = ""
    for part in location[1:]:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name or str(location[0])
