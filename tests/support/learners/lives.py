"""Lives of learners for the tests of erasure."""

from __future__ import annotations

from lyo.models.arrays.zones import DAY, HOUR
from tests.support.learners.building import (
    START,
    Sent,
    completion,
    outcome,
    preferences,
    request,
    sentiment,
    session,
)


def life(user: int, days: range) -> list[Sent]:
    """Events of every kind on some days."""
    made: list[Sent] = []
    for day in days:
        at, name = START + day * DAY + 9 * HOUR, f"{user}-{day}"
        made += [
            session(user, at, name=f"s{name}"),
            completion(user, at, "algebra", "sets", score=day % 10 / 10, name=f"c{name}"),
            sentiment(user, at, 0.4, name=f"m{name}"),
        ]
        if day % 5 == 0:
            made += [
                request(user, at, name=f"r{name}", content_id=f"content-{day}", prerequisites=["algebra"]),
                outcome(user, at, "returned", name=f"o{name}"),
                preferences(user, at, timezone="Europe/Berlin", name=f"p{name}"),
            ]
    return made
