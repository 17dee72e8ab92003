"""Struggle requests that the demo adds to files without any."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass

from lyo.models.events.decode import Columns, Kind

REMEMBERED = 3_000  # newest events
LEARNERS = 5
BELOW = 0.5  # a score under it went badly
# The content of the requests if a file names none.
OWN_CONTENT, OWN_DIFFICULTY = "demo-lesson", 0.7
FROM_FILE = "for the most active learners, each about a content that went badly"
INVENTED = f"about a made-up content of difficulty {OWN_DIFFICULTY}, since the file names none"


@dataclass(frozen=True, slots=True)
class Encounter:
    """An event of a learner: its time (ms), learner and content."""

    at: int
    user: int
    organization: int | None
    content_id: str = OWN_CONTENT
    content_type: str | None = None
    skills: tuple[str, ...] = ()
    difficulty: float | None = OWN_DIFFICULTY
    bad: bool = False


def newest(before: list[Encounter], columns: Columns) -> list[Encounter]:
    """The newest of the events in ``before`` and in ``columns``."""
    chosen = columns.at.argsort(kind="stable")[-REMEMBERED:].tolist()
    new = [_met(columns, index) for index in chosen]
    return sorted([*before, *new], key=lambda met: met.at)[-REMEMBERED:]


def _met(columns: Columns, index: int) -> Encounter:
    at, user, organization = int(columns.at[index]), int(columns.user[index]), int(columns.org[index]) or None
    if columns.kind is not Kind.LESSON_COMPLETION:
        return Encounter(at, user, organization)
    row = columns.rows[index]
    bad = row.score is not None and row.score < BELOW
    return Encounter(
        at, user, organization, row.content_id, row.content_type, tuple(row.skills), row.difficulty, bad
    )


def requests(met: list[Encounter], clock: str) -> list[str]:
    """Lines of struggle requests at the clock's time, one for each of the most active learners.

    It is about the learner's newest content that went badly, else the newest content. The content's skills
    are its prerequisites, and the learner's other recent skills are similar topics.
    """
    of: dict[int, list[Encounter]] = defaultdict(list)
    for content in met:
        of[content.user].append(content)
    chosen = sorted(of, key=lambda user: (-len(of[user]), user))[:LEARNERS]
    return [json.dumps(_request(of[user], clock)) for user in chosen]


def _request(recent: list[Encounter], clock: str) -> dict[str, object]:
    about = next((content for content in reversed(recent) if content.bad), recent[-1])
    others = dict.fromkeys(skill for content in reversed(recent) for skill in content.skills)
    return {
        "type": "struggle_request",
        "request_id": f"demo-{about.user}",
        "user_id": about.user,
        "organization_id": about.organization,
        "requested_at": clock,
        "content_metadata": {
            "content_id": about.content_id,
            "type": about.content_type or "lesson",
            "difficulty_rating": about.difficulty,
            "prerequisites": list(about.skills) or None,
            "similar_topics": [skill for skill in others if skill not in about.skills][:5] or None,
        },
    }
