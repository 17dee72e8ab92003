"""The simulated catalogue: topics of skills, contents that practise them, and organizations."""

import json
from dataclasses import dataclass
from typing import Any, Final

TOPICS: Final = {
    "fractions": "Fractions",
    "decimals": "Decimals",
    "ratios": "Ratios",
    "expressions": "Expressions",
    "equations": "Equations",
    "inequalities": "Inequalities",
    "functions": "Functions",
    "geometry": "Geometry",
    "trigonometry": "Trigonometry",
    "probability": "Probability",
    "statistics": "Statistics",
    "vectors": "Vectors",
}
STEPS: Final = (
    "recognise",
    "read",
    "compare",
    "simplify",
    "convert",
    "combine",
    "apply",
    "estimate",
    "explain",
    "solve",
)
FORMS: Final = (("video", 0.3), ("exercise", 0.5), ("quiz", 0.8))
SECONDS: Final = ((110, 420), (25, 110), (20, 90))
"""Shortest and longest time that a lesson of each form takes."""
EXERCISE: Final = 1
QUIZ: Final = 2
PER_TOPIC: Final = len(STEPS)
SKILLS: Final = len(TOPICS) * PER_TOPIC
CONTENTS: Final = SKILLS * len(FORMS)
COURSE: Final = 20
"""Skills of a course: two topics, one after the other."""

ZONES: Final = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "America/Sao_Paulo",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Africa/Nairobi",
    "America/Los_Angeles",
    "Europe/London",
    "Pacific/Auckland",
    "Asia/Kathmandu",
    "UTC",
)
ORGANIZATION_ZONES: Final = (0, 1, 2, 3, 4, 5, 6, 7)
"""The zone of each organization; organization number i + 1 has entry i."""


@dataclass(frozen=True, slots=True)
class Content:
    """One content: its fields as an event repeats them, and as the catalogue and a request hold them."""

    fields: dict[str, Any]
    event: str
    metadata: str


def _skill(number: int) -> str:
    topic, step = divmod(number % SKILLS, PER_TOPIC)
    return f"{list(TOPICS)[topic]}-{STEPS[step]}"


SKILL_IDS: Final = tuple(_skill(number) for number in range(SKILLS))


def _content(number: int) -> Content:
    skill, form = divmod(number, len(FORMS))
    topic, step = divmod(skill, PER_TOPIC)
    kind, difficulty = FORMS[form]
    name = list(TOPICS)[topic]
    skills = [SKILL_IDS[skill]]
    if form == QUIZ and step > 0:
        skills.append(SKILL_IDS[skill - 1])
    # The step before, and for a topic's first step the last one of the topic before.
    prerequisites = [SKILL_IDS[skill - 1]] if skill > 0 else []
    similar = [name, list(TOPICS)[topic - 1]]
    fields: dict[str, Any] = {
        "content_id": f"{SKILL_IDS[skill]}-{kind}",
        "title": f"{TOPICS[name]}: {STEPS[step]} ({kind})",
        "topic": name,
        "skills": skills,
        "difficulty": round(difficulty + 0.02 * step, 2),
        "prerequisites": prerequisites,
        "similar_topics": similar,
        "skill_names": {skill: skill.replace("-", ": ", 1).capitalize() for skill in skills},
    }
    event = {"content_id": fields["content_id"], "content_type": kind} | {
        name: fields[name] for name in ("topic", "skills", "difficulty")
    }
    metadata = {
        "content_id": fields["content_id"],
        "type": kind,
        "difficulty_rating": fields["difficulty"],
        "prerequisites": prerequisites,
        "similar_topics": similar,
    }
    return Content(fields, _compact(event)[1:-1], _compact(metadata))


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


CATALOGUE: Final = tuple(_content(number) for number in range(CONTENTS))


def lines() -> list[bytes]:
    """Return the organizations' and contents' lines, the first of every simulated file."""
    organizations = [
        {
            "type": "organization",
            "organization_id": number,
            "timezone": ZONES[zone],
            "quiet_hours": {"from": "22:00", "to": "07:00"},
            "max_nudges_per_day": 1 + number % 3,
            "simulated": True,
        }
        for number, zone in enumerate(ORGANIZATION_ZONES, start=1)
    ]
    contents = [{"type": "content"} | content.fields | {"simulated": True} for content in CATALOGUE]
    return [_compact(record).encode() + b"\n" for record in [*organizations, *contents]]
