"""What is published: lives of learners in the order of their times, bad records, bursts, some of it again."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from typing import Any

from lyo.models.arrays.zones import DAY
from lyo.models.erasure import ErasureMarkers
from lyo.models.events.decode import Kind
from tests.support.learners import building, sampled
from tests.support.learners.building import START, Sent
from tests.support.learners.sampled import CONTENTS, ORGANIZATIONS

DAYS = 3
BAD = (
    b"",
    b"\x00\xff\xfe",
    b"[" * 400,
    b'{"event_id": 3}',
    b'{"event_id": "x", "user_id": 1e400}',
    b'{"event_id": "x", "user_id": "1"}',
    b'{"event_id": "nul\\u0000", "user_id": 1, "occurred_at": "2026-03-02T00:00:00Z", "sentiment": 0}',
    None,
)


@dataclass(frozen=True)
class Publication:
    """One record to be published at an instant (ms); ``user`` says to which partition."""

    at: int
    kind: Kind
    key: bytes | None
    value: bytes | None
    user: int


def publications(seed: int, events: int) -> list[Publication]:
    """Everything of one run, in its order."""
    dice = random.Random(f"{seed}-workload")
    users = dice.randint(2, 6)
    lives = sampled.lives(seed, events, users=users, days=DAYS)
    if dice.random() < 0.3:
        lives += _burst(dice, users, seed)
    made = [_publication(event) for event in lives]
    made += [_bad(dice, users) for _ in range(dice.choice((0, 0, 3, 8)))]
    made.sort(key=lambda one: one.at)
    lump = dice.choice((1, 1, DAY // 8, DAY // 2))
    asked = erasures(seed, made)
    made = [replace(one, at=-(-one.at // lump) * lump) for one in made]
    made = _history(seed, made)
    made = _again(dice, made) if dice.random() < 0.4 else made
    # Of the same instant, the consent comes first.
    return sorted([*asked, *made], key=lambda one: one.at)


def erasures(seed: int, made: list[Publication]) -> list[Publication]:
    """Who asks when to be forgotten, and to be known again, in most runs nobody.

    A consent is published before what happens from then on; an old one may come again later.
    """
    dice = random.Random(f"{seed}-erasures")
    if dice.random() < 0.6:
        return []
    found: list[Publication] = []
    for user in sorted({one.user for one in made}):
        if dice.random() < 0.5:
            continue
        times = sorted(dice.sample(range(START, START + DAYS * DAY), dice.choice((1, 1, 2, 3))))
        if dice.random() < 0.6:  # while what was just published is under way
            near = dice.choice([one.at for one in made if one.user == user]) + dice.randint(1, 2_000_000)
            times = sorted({near, *times[1:]})
        said = [_asked(user, at, times[0], number) for number, at in enumerate(times)]
        found += said
        if dice.random() < 0.3:
            # The last one may be asked for after the last day, when an event of that day is under way.
            end = max(START + DAYS * DAY, times[-1] + 1)
            found.append(replace(dice.choice(said), at=dice.randrange(times[-1], end)))
    return found


def markers(asked: list[Publication]) -> ErasureMarkers:
    """All that was asked, as the product sees it in the end."""
    found = ErasureMarkers()
    for one in asked:
        assert found.put(one.key, one.value, one.at) is None
    return found


def _asked(user: int, at: int, erased_at: int, number: int) -> Publication:
    """The first and the third ask to be forgotten, the second to be known again."""
    body: dict[str, Any] = {"event_id": f"erase-{user}-{number}", "user_id": user}
    if number % 2:
        body |= {"requested_at": building.iso(erased_at), "consented_at": building.iso(at)}
    else:
        body["requested_at"] = building.iso(at)
    return Publication(at, Kind.ERASURE, b"%d" % user, json.dumps(body).encode(), user)


def catalogue(dice: random.Random) -> list[tuple[Kind, bytes | None, bytes | None]]:
    """Contents and organizations, and now and then a bad one."""
    found: list[tuple[Kind, bytes | None, bytes | None]] = [
        (Kind.CONTENT, str(one["content_id"]).encode(), json.dumps(one).encode()) for one in CONTENTS
    ]
    found += [
        (Kind.ORGANIZATION, str(one["organization_id"]).encode(), json.dumps(one).encode())
        for one in ORGANIZATIONS
    ]
    if dice.random() < 0.3:
        found += [(Kind.CONTENT, b"bad", b"{}"), (Kind.ORGANIZATION, None, b"{}")]
    return found


def when(body: dict[str, Any]) -> int:
    """The time of an event (ms)."""
    names = ("occurred_at", "started_at", "updated_at", "requested_at")
    return building.ms(next(body[name] for name in names if name in body))


def _publication(event: Sent, user: int | None = None) -> Publication:
    whose = event.body["user_id"] if user is None else user
    return Publication(when(event.body), event.kind, b"%d" % whose, json.dumps(event.body).encode(), whose)


def _burst(dice: random.Random, users: int, seed: int) -> list[Sent]:
    """More events of one learner within minutes than a row remembers ids."""
    user, at = dice.randint(1, users), START + dice.randrange(DAYS * DAY)
    many = dice.randint(70, 120)
    if dice.random() < 0.5:
        made = [building.sentiment(user, at + n * 1_000, 0.5, name=f"{seed}-burst-{n}") for n in range(many)]
    else:
        names = [f"{seed}-burst-{n}" for n in range(many)]
        made = [building.completion(user, at, "algebra", name=name) for name in names]
    return made


def _bad(dice: random.Random, users: int) -> Publication:
    user, at = dice.randint(1, users), START + dice.randrange(DAYS * DAY)
    kind = dice.choice((Kind.SESSION, Kind.SENTIMENT, Kind.OUTCOME, Kind.LESSON_COMPLETION))
    key = dice.choice((b"%d" % user, None, b"\xff"))
    return Publication(at, kind, key, dice.choice(BAD), user)


def _history(seed: int, made: list[Publication]) -> list[Publication]:
    """In some runs, the first days of some learners published as history, more than a day later."""
    dice = random.Random(f"{seed}-history")
    if dice.random() < 0.6:
        return made
    users = {user for user in sorted({one.user for one in made}) if dice.random() < 0.6}
    since = START + dice.randrange(3 * DAY // 2, 5 * DAY // 2)
    late = [replace(one, at=max(one.at, since)) if one.user in users else one for one in made]
    return sorted(late, key=lambda one: one.at)


def _again(dice: random.Random, made: list[Publication]) -> list[Publication]:
    """Some stretches published again within the promised distance, the topics interleaved otherwise."""
    found: list[Publication] = []
    since = 0
    for one in made:
        found.append(one)
        if len(found) - since >= 12 and (dice.random() < 0.15 or len(found) - since > 50):
            stretch = found[since:]
            dice.shuffle(kinds := sorted({other.kind for other in stretch}))
            found += [replace(other, at=one.at) for kind in kinds for other in stretch if other.kind is kind]
            since = len(found)
    return found
