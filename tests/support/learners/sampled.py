"""Random lives of a few learners: events of every kind, cut into batches, sent again, out of order."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.events.decode import Kind
from lyo.models.state.catalogue import Catalogue
from lyo.tools.simulation import Plan, generate
from tests.support.learners.building import (
    MINUTE,
    START,
    Sent,
    catalogue,
    completion,
    outcome,
    preferences,
    request,
    sentiment,
    session,
)

SKILLS = ("algebra", "fractions", "roots|and powers", "größen")


CONTENTS = (
    {"content_id": "lesson-a", "skills": ["algebra"], "topic": "Algebra", "prerequisites": ["fractions"]},
    {"content_id": "lesson-f", "skills": ["fractions"], "topic": "Numbers", "difficulty": 0.4},
    {"content_id": "lesson-r", "skills": ["roots|and powers", "algebra"], "similar_topics": ["Numbers"]},
    {"content_id": "lesson-x", "skills": ["größen"], "organization_id": 8, "prerequisites": ["algebra"]},
)


ORGANIZATIONS = ({"organization_id": 7, "timezone": "America/New_York"}, {"organization_id": 8})


ZONE_NAMES = ("Europe/Berlin", "Asia/Kolkata", "Pacific/Auckland", None)


_PAUSES = (0, 1, 999, 40_000, 20 * MINUTE, 5 * HOUR, DAY, 2 * DAY, 9 * DAY)


_OUTCOMES = ("returned", "reviewed", "struggled", "nudge_sent")


def sample_catalogue() -> Catalogue:
    """The catalogue that generated lives refer to."""
    return catalogue(*CONTENTS, organizations=ORGANIZATIONS)


def lives(
    seed: int, events: int, *, users: int = 3, days: int | None = None, pauses: tuple[int, ...] = _PAUSES
) -> list[Sent]:
    """Events of all kinds of some learners, in the order of their times; within ``days`` if given.

    Learner 1 is of organization 7, learner 2 of 8, the others of none. Times repeat, skills come in runs
    long enough for plateaus and regressions.
    """
    rng = random.Random(seed)
    made: list[Sent] = []
    at = START + rng.randrange(DAY)
    skill, level, user = rng.choice(SKILLS), rng.random(), rng.randint(1, users)
    for number in range(events):
        if rng.random() < 0.12:
            skill, level, user = rng.choice(SKILLS), rng.random(), rng.randint(1, users)
        made.append(_event(rng, f"{seed}-{number}", user, at, skill, level))
        at += rng.choice(pauses)
        if days is not None and at >= START + days * DAY:
            at = START + rng.randrange(days * DAY)
    return sorted(made, key=_time) if days is not None else made


def _time(event: Sent) -> str:
    body = event.body
    return str(
        body.get("occurred_at")
        or body.get("started_at")
        or body.get("updated_at")
        or body.get("requested_at")
    )


def _event(rng: random.Random, name: str, user: int, at: int, skill: str, level: float) -> Sent:
    org = {1: 7, 2: 8}.get(user) if rng.random() < 0.7 else None
    dice = rng.random()
    if dice < 0.55:
        skills = (skill, rng.choice(SKILLS)) if rng.random() < 0.2 else (skill,)
        score = None if rng.random() < 0.15 else min(max(level + rng.uniform(-0.15, 0.15), 0.0), 1.0)
        more: dict[str, Any] = {"content_id": rng.choice(("lesson-a", "lesson-f", "other"))}
        if rng.random() < 0.5:
            more["duration_seconds"] = rng.choice((3, 14, 15, 100, 121, 4000, 70_000))
        if rng.random() < 0.3:
            more["topic"] = rng.choice(("Algebra", "Numbers", "Thème"))
        return completion(user, at, *skills, score=score, name=name, organization_id=org, **more)
    if dice < 0.72:
        minutes = rng.choice((None, 0, 1, 30, 45, 200, 1440))
        return session(user, at, minutes, name=name, organization_id=org)
    if dice < 0.80:
        return sentiment(user, at, rng.uniform(-1, 1), name=name, organization_id=org)
    if dice < 0.85:
        return outcome(user, at, rng.choice(_OUTCOMES), name=name, organization_id=org)
    if dice < 0.90:
        chosen = rng.choice(
            (
                {"timezone": rng.choice(ZONE_NAMES)},
                {"quiet_hours": {"from": "22:00", "to": "07:30"}},
                {"quiet_hours": None, "max_nudges_per_day": rng.choice((0, 3, None))},
                {},
            )
        )
        return preferences(user, at, name=name, organization_id=org, **chosen)
    metadata = {
        "content_id": rng.choice(("lesson-a", "lesson-r", "lesson-x", "elsewhere", "new", "hard")),
        "difficulty_rating": rng.choice((None, 0.2, 0.9)),
        "prerequisites": rng.choice((None, [], ["algebra"], ["algebra", "fractions", "unheard"])),
        "similar_topics": rng.choice((None, ["Numbers"], ["lesson-r", "algebra"])),
    }
    return request(user, at, name=name, organization_id=org, **metadata)


def simulated(learners: int, days: int, seed: int, end: int) -> tuple[Catalogue, list[Sent]]:
    """Catalogue and events of simulated learners up to ``end``, in order of arrival."""
    lines = b"".join(generate(Plan(learners, days, seed, end, 0.0, 1))).splitlines()
    events = [Sent(Kind(body["type"]), body) for body in map(json.loads, lines)]
    known = Catalogue()
    for kind, name in ((Kind.CONTENT, "content_id"), (Kind.ORGANIZATION, "organization_id")):
        for event in events:
            if event.kind is kind:
                value = json.dumps(event.body).encode()
                assert known.put(kind, str(event.body[name]).encode(), value) is None
    return known, [event for event in events if event.kind not in (Kind.CONTENT, Kind.ORGANIZATION)]


def batches(rng: random.Random, events: list[Sent], most: int = 20) -> Iterator[list[Sent]]:
    """Events cut into batches of random sizes, up to ``most``."""
    start = 0
    while start < len(events):
        size = rng.randint(1, most)
        yield events[start : start + size]
        start += size


def disturbed(rng: random.Random, events: list[Sent], *, far: int = 0, again: float = 0.0) -> list[Sent]:
    """Events in another order of arrival, each at most ``far`` places late, some sent again soon after."""
    order = sorted(range(len(events)), key=lambda place: place + rng.uniform(0, far + 0.5))
    arrived: list[Sent] = []
    waiting: list[tuple[int, Sent]] = []
    for place in order:
        arrived.append(events[place])
        if rng.random() < again:
            waiting.append((len(arrived) + rng.randint(0, 30), events[place]))
        arrived += [event for when, event in waiting if when <= len(arrived)]
        waiting = [(when, event) for when, event in waiting if when > len(arrived)]
    return arrived + [event for _, event in waiting]
