"""Four weeks of a few learners, written out by hand, as the app and the workers would publish them.

Every figure that `ops.monitor.quality` makes of it was worked out on paper; the sums stand in
`test_quality.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.events.decode import Kind, partition
from lyo.streams import topics
from lyo.streams.settings import Settings
from tests.support.learners.building import MINUTE, START, completion, iso, run, session
from tests.support.learners.building import Sent as Event
from tests.support.sink.records import (
    dropout,
    intervention,
    outcome,
    plateau,
    plateau_episode,
    regression,
    regression_episode,
    struggle,
    timing,
)
from tests.support.sink.running import Sent, said, sent

NOW = START + 100 * DAY + 12 * HOUR  # a Wednesday, 12:00 UTC

_numbers = count()


def at(days: float, hours: float = 0.0) -> int:
    """So many days before the UTC day of `NOW`, and hours into that day, in ms."""
    return NOW - 12 * HOUR + round(-days * DAY + hours * HOUR)


def told(user: int, kind: str, when: int, **more: Any) -> dict[str, Any]:
    event = outcome(user, kind, 0, organization_id=7, **more)
    return event | {"event_id": f"told-{next(_numbers)}", "occurred_at": iso(when)}


# ---------------------------------------------------------------- what the workers published


def struggles() -> Iterator[dict[str, Any]]:
    """Seven questions, one asked again: the probability told, and whether help was called for."""
    said = (*enumerate((0.8, 0.8, 0.7, 0.9, 0.2, 0.6, 0.75), start=1), (1, 0.4))
    for number, (user, probability) in enumerate(said):
        asked_at = iso(at(10 if number < 7 else 7))
        yield struggle(
            user,
            "lesson",
            request_id=f"request-{number}",
            answered={"probability": probability, "confidence": 0.6, "as_of": asked_at},
            struggle_probability=1 - probability,  # as the answer has changed since
            should_offer_help=probability >= 0.6,
            requested_at=asked_at,
            predicted_at=asked_at,
        )


def risks() -> Iterator[dict[str, Any]]:
    """Five learners' risks: one is out of date, one rests on nothing, one knows of sentiment."""
    current, past = iso(at(-1)), iso(at(9))
    yield dropout(1, valid_until=current, sentiment_trend_7d=0.1)
    yield dropout(2, valid_until=current, confidence=0.9)
    yield dropout(3, valid_until=current, confidence=0.3)
    yield dropout(5, valid_until=past)
    yield dropout(11, valid_until=current, confidence=0.0, organization_id=8)


def profiles() -> Iterator[dict[str, Any]]:
    yield timing(
        1,
        peak_hours=[19],
        performance_by_hour={"19": 0.9, "8": 0.5, "9": 0.7},
        timezone="UTC",
        confidence=0.9,
    )
    yield timing(
        2, peak_hours=[7], performance_by_hour={"7": 0.4, "20": 0.5}, timezone="Europe/Berlin", confidence=0.7
    )
    yield timing(3, peak_hours=[7], performance_by_hour={"7": 0.8}, timezone="UTC", confidence=0.0)


def flags() -> Iterator[dict[str, Any]]:
    """When the risk of four learners was found high, of one twice; the fifth was before the window."""
    for number, (user, days) in enumerate(((1, 21), (1, 19), (2, 25), (3, 27), (4, 3), (5, 60))):
        yield intervention(user, f"high-{number}", as_of=iso(at(days)), type="emotional_support")
    yield intervention(6, "nudge", as_of=iso(at(3)), type="gentle_nudge")


def episodes(settings: Settings) -> Iterator[Sent]:
    """Four plateaus that ended, one that lasts; three regressions, and one too young to be judged."""
    for number, resolved in enumerate((True, False, False, False)):
        ended = {"is_active": False, "resolved": resolved, "ended_at": iso(at(6))}
        yield sent(settings, "plateaus", _plateau(1, f"p{number}", at(20), **ended))
    yield sent(settings, "plateaus", _plateau(2, "p", at(20)))
    for number, (days, reviewed) in enumerate(((20, False), (20, False), (20, True), (3, True))):
        more = {"user_reviewed": reviewed, "is_active": not reviewed, "confidence": 0.6}
        yield sent(settings, "regressions", _regression(1, f"r{number}", at(days), **more))


def _plateau(user: int, skill: str, detected: int, **more: Any) -> dict[str, Any]:
    episode = plateau_episode(0, detected_at=iso(detected), **more)
    return plateau(user, skill) | {"episodes": [episode]} | episode


def _regression(user: int, skill: str, detected: int, **more: Any) -> dict[str, Any]:
    episode = regression_episode(0, detected_at=iso(detected), **more)
    return regression(user, skill) | {"episodes": [episode]} | episode


# ---------------------------------------------------------------- what the app published


def outcomes() -> Iterator[dict[str, Any]]:
    for user, kind in ((1, "accepted"), (2, "accepted"), (3, "declined"), (6, "accepted"), (7, "accepted")):
        yield told(user, f"help_{kind}", at(9), content_id="lesson")
    yield told(4, "help_offered", at(9), content_id="lesson")
    took = {1: 100, 2: 100, 4: 140, 5: 100, 7: 300}  # seconds; usually 100
    for user, struggled in ((1, False), (2, True), (3, True), (4, False), (5, False), (7, False)):
        kind, seconds = "struggled" if struggled else "not_struggled", took.get(user)
        yield told(user, kind, at(8), content_id="lesson", completion_time_seconds=seconds)
    yield told(1, "not_struggled", at(6), content_id="lesson")
    for user, executed, returned in ((1, 20, 10), (2, 40, None), (3, 26, 1), (5, 5, 4)):
        yield told(user, "strategy_executed", at(executed))
        if returned is not None:
            yield told(user, "returned", at(returned))
    for skill in ("p0", "p1"):
        yield told(1, "intervention_taken", at(15), skill_id=skill)
    for skill in ("r0", "r1"):
        yield told(1, "reminder_sent", at(15), skill_id=skill)
    yield told(1, "reviewed", at(12), skill_id="r0")


def nudges() -> Iterator[dict[str, Any]]:
    for user, days, hours in ((1, 6, 10), (1, 4, 7), (1, 3, 19.1), (1, 2, 19), (2, 5, 12), (2, 3, 5.2)):
        yield told(user, "nudge_sent", at(days, hours))
    yield told(1, "nudge_sent", at(0, 11))  # too young to be judged
    for user, days, hours in ((1, 6, 11), (1, 3, 19.5), (2, 4, 13), (2, 2, 4.2)):
        yield told(user, "responded", at(days, hours))


def activity() -> list[Event]:
    """What the rows are folded from: two learners' study, and on which days eight others were active."""
    one = [
        session(1, at(3, 19), 60, organization_id=7),
        session(1, at(4, 8), 120, organization_id=7),
        *(completion(1, at(3, 19) + m * MINUTE, "algebra", organization_id=7) for m in (10, 20, 30)),
        *(completion(1, at(4, 8) + m * MINUTE, "algebra", organization_id=7) for m in (30, 90)),
    ]
    # Berlin is two hours ahead in June: 05:20 UTC is in the hour from 7.
    two = [
        session(2, at(3, 5) + 20 * MINUTE, 30, organization_id=7),
        session(2, at(5, 19), 90, organization_id=7),
        completion(2, at(3, 5) + 30 * MINUTE, "algebra", organization_id=7),
        completion(2, at(5, 20), "algebra", organization_id=7),
    ]
    days = {
        11: (70, 40, 10),
        12: (70, 40),
        13: (70,),
        14: (70,),
        15: (70,),
        16: (40, 10),
        17: (40,),
        18: (27,),
    }
    others = [
        session(user, at(day, 9), 0, organization_id=8 if user == 11 else None)
        for user, active in days.items()
        for day in active
    ]
    return [*one, *two, *others]


def story(settings: Settings) -> list[Sent]:
    """Everything as records on the topics."""
    names = topics.names(settings)
    stream = run(sorted(activity(), key=lambda event: str(event.body)))
    rows = [
        Sent(topic, partition(int(key.split(b"|")[0]), settings.partitions), key, value)
        for topic, some in ((names.learner_rows, stream.learner_rows), (names.skill_rows, stream.skill_rows))
        for key, value in some.items()
    ]
    predictions = {
        "struggle": struggles(),
        "dropout-risk": risks(),
        "timing": profiles(),
        "interventions": flags(),
    }
    return [
        *rows,
        *(sent(settings, kind, record) for kind, records in predictions.items() for record in records),
        *episodes(settings),
        *(said(settings, Kind.OUTCOME, event) for event in (*outcomes(), *nudges())),
    ]
