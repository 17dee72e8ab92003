"""Who asks, and about which learner they may ask."""

from __future__ import annotations

from dataclasses import dataclass

from lyo.predictive.api.problems import Problem, invalid
from lyo.streams import log

_log = log.logger("auth")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who has signed in.

    Args:
        name: what requests are counted by; never shown or logged.
        user_id: the learner; None for a service.
        organization: the tenant that the caller is restricted to; None: the caller names none.
        service: may ask for any learner of the tenant.
    """

    name: str
    user_id: int | None
    organization: int | None
    service: bool = False


def subject(caller: Caller, asked: int | None) -> int:
    """The learner that a request is about: the one asked for, or the caller.

    Raises:
        Problem: 403 for a learner who asks for another one, 422 for a service that names none.
    """
    if caller.service:
        if asked is None:
            raise invalid(("user_id", "required: a service has to say which learner it asks for"))
        return asked
    if caller.user_id is None or (asked is not None and asked != caller.user_id):
        _log.warning("403: a learner asked for another one")
        raise Problem(403, "A learner may ask only for their own predictions.")
    return caller.user_id
