"""The caller of a request, and the learners that the caller may ask about."""

from __future__ import annotations

from dataclasses import dataclass

from lyo.predictive.api.problems import Problem, invalid
from lyo.streams import log

_log = log.logger("auth")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    Args:
        name: the key of the rate limit; never shown or logged.
        user_id: the learner; None for a service.
        organization: the tenant that the caller is restricted to; None if the token names none.
        service: the caller may ask for any learner of the tenant.
    """

    name: str
    user_id: int | None
    organization: int | None
    service: bool = False


def subject(caller: Caller, user_id: int | None) -> int:
    """The learner that a request is about: ``user_id``, or the caller.

    Raises:
        Problem: 403 for a learner who asks for another one, 422 for a service that names none.
    """
    if caller.service:
        if user_id is None:
            raise invalid(("user_id", "required: a service has to say which learner it asks for"))
        return user_id
    if caller.user_id is None or (user_id is not None and user_id != caller.user_id):
        _log.warning("403: a learner asked for another one")
        raise Problem(403, "A learner may ask only for their own predictions.")
    return caller.user_id
