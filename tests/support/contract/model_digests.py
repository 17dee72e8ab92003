"""What each model says of the same learners, as a digest under its name.

`python -m tests.support.contract.model_digests` in the root adds the models that the table does not know. A
digest in it stays: a model that says something else gets another name. `--again NAME` computes the digest of
a model anew that was never released.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Final

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.predictions.kinds import KINDS
from lyo.models.predictions.records import IDENTITY_FREE
from tests.support.learners.building import (
    START,
    Sent,
    Stream,
    catalogue,
    completion,
    outcome,
    preferences,
    request,
    sentiment,
    session,
)

TABLE: Final = Path(__file__).parents[2] / "contract" / "golden" / "models.json"
LEARNERS, DAYS = 12, 84
SKILLS = ("algebra", "fractions", "roots", "sets", "vectors")
_OWN: Final = IDENTITY_FREE | {"model", "prediction_id"}


def known() -> dict[str, str]:
    """The committed table: digests by the models' names, those of earlier versions too."""
    table: dict[str, str] = json.loads(TABLE.read_text())
    return table


def computed() -> dict[str, str]:
    """The digests of this version's models."""
    told: dict[str, list[Any]] = {kind.name: [] for kind in KINDS}
    stream = Stream(_contents())
    for week in range(DAYS // 7 + 6):  # the last weeks are silent
        stream.feed([event for day in range(week * 7, week * 7 + 7) if day < DAYS for event in _day(day)])
        stream.sweep(START + (week + 1) * 7 * DAY)
        for (kind, key), record in sorted(stream.current().items()):
            fields = {name: value for name, value in record.items() if name not in _OWN}
            told[kind].append([week, key.decode(), fields])
    return {
        kind.model: hashlib.sha256(json.dumps(told[kind.name], sort_keys=True).encode()).hexdigest()
        for kind in KINDS
    }


def _contents() -> Any:
    lessons = [
        {
            "content_id": f"lesson-{number}",
            "skills": [skill],
            "prerequisites": list(SKILLS[max(0, number - 2) : number]),
            "difficulty": round(0.15 + 0.17 * number, 2),
        }
        for number, skill in enumerate(SKILLS)
    ]
    return catalogue(*lessons, organizations=[{"organization_id": 7, "timezone": "America/New_York"}])


def _day(day: int) -> list[Sent]:
    """One day of learners who differ in rhythm, success and mood, and of whom some stay away; no dice."""
    events: list[Sent] = []
    for user in range(1, LEARNERS + 1):
        at = START + day * DAY + (7 + (user * 5 + day // 20) % 14) * HOUR + user * 61_000
        name = f"{user}-{day}"
        if day % (1 + user % 4) or (user % 3 == 0 and day > 20 + 5 * user):
            continue
        organization = 7 if user % 2 else None
        number = (day // 9 + user) % len(SKILLS)
        score = (user * 37 + day * (user % 5) * 11) % 101 / 100
        if day == 0:
            events.append(
                preferences(user, at, name=f"p{name}", timezone="Asia/Kolkata" if user % 5 == 0 else None)
            )
        events.append(session(user, at, 5 + (user * day) % 70, name=f"s{name}", organization_id=organization))
        events += [
            completion(
                user,
                at + (repeat + 1) * 240_000,
                SKILLS[number],
                score=None if (day + repeat) % 7 == 6 else score,
                name=f"c{name}-{repeat}",
                content_id=f"lesson-{number}",
            )
            for repeat in range(1 + user % 3)
        ]
        if day % 3 == 0:
            events.append(sentiment(user, at + HOUR, ((user + day) % 9 - 4) / 4, name=f"m{name}"))
        if day % 6 == 0:
            events.append(request(user, at + HOUR, name=f"q{name}", content_id=f"lesson-{(number + 1) % 5}"))
        if day % 12 == 0:
            what = "struggled" if score < 0.4 else "not_struggled"
            events.append(outcome(user, at + 2 * HOUR, what, name=f"o{name}", content_id=f"lesson-{number}"))
    return events


def main(again: set[str]) -> None:
    """Write the table with the models that it does not know, and those that are to be taken anew."""
    now, table = computed(), known() if TABLE.exists() else {}
    stay = {name: digest for name, digest in table.items() if name not in again}
    if renamed := sorted(name for name in now.keys() & stay.keys() if now[name] != stay[name]):
        sys.exit(f"{', '.join(renamed)}: says something else than under this name before; rename MODEL first")
    TABLE.write_text(json.dumps(dict(sorted((now | stay).items())), indent=1) + "\n")


if __name__ == "__main__":
    main({name for name in sys.argv[1:] if name != "--again"})
