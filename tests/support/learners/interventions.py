"""Learners who call for interventions, lived day by day."""

from __future__ import annotations

from typing import Any

from lyo.models.arrays.zones import DAY, HOUR
from tests.support.learners.building import MINUTE, START, Sent, Stream, catalogue, completion, iso, session

DAWN = 2 * HOUR
"""After every learner's boundary, in UTC."""


def habit(user: int, days: int, *, first: int = 0, hour: int = 18, **more: Any) -> list[Sent]:
    """A session and a good completion a day."""
    made = []
    for day in range(first, first + days):
        at = START + day * DAY + hour * HOUR
        made.append(session(user, at, 40, **more))
        made.append(completion(user, at + 20 * MINUTE, f"skill-{day}", score=0.9, **more))
    return made


def day_by_day(stream: Stream, first: int, last: int) -> None:
    """Let the days pass, ``first`` to ``last`` included."""
    for day in range(first, last + 1):
        stream.sweep(START + day * DAY + DAWN)


def silent(days: int, *, user: int = 1, known: Any = None, before: tuple[Sent, ...] = ()) -> Stream:
    """A learner with a habit of six days, silent for so many days after."""
    stream = Stream(known)
    stream.feed([*before, *habit(user, 6)])
    day_by_day(stream, 6, 5 + days)
    return stream


def of_dropout(stream: Stream, **more: Any) -> list[dict[str, Any]]:
    return [one for one in stream.decided(**more) if one["type"] in ("gentle_nudge", "emotional_support")]


def stuck(user: int, days: int, skill: str = "algebra", first: int = 0) -> list[Sent]:
    """A right and a wrong answer a day, without improvement."""
    return [
        completion(user, START + (first + day) * DAY + hour * HOUR, skill, score=score, topic="Algebra")
        for day in range(days)
        for hour, score in ((9, 1.0), (15, 0.0))
    ]


def fading(user: int, skill: str = "s", failures: int = 2) -> list[Sent]:
    """A skill known, then failed, by default twice: weeks later failing it is more likely than not."""
    return [
        completion(user, START + day * DAY + 12 * HOUR, skill, score=score)
        for day, score in enumerate([*[0.8] * 5, *[0.0] * failures])
    ]


def to_come(**more: Any) -> tuple[Stream, int]:
    """A learner of whom something was decided whose time has not come, and the midnight before it."""
    stream = Stream(catalogue(organizations=[{"organization_id": 7}]))
    stream.feed(habit(1, 6, **more))
    day = 6
    while not of_dropout(stream):
        stream.sweep(START + day * DAY + DAWN)
        day += 1
    midnight = START + (day - 1) * DAY
    (nudge,) = of_dropout(stream)
    assert (nudge["status"], nudge["not_before"]) == ("active", iso(midnight + 9 * HOUR))
    return stream, midnight
