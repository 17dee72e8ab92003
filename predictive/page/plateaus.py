"""Plateaus on one time axis: those that last, then the ended ones."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from lyo.models.arrays.zones import DAY
from lyo.models.formulas import plateau
from lyo.models.predictions.episodes import plateau_episodes
from lyo.predictive.page import insights as answers
from lyo.predictive.page import words
from lyo.predictive.page.charts import Axis, Bar, Timeline, labels_apart
from lyo.predictive.page.insights import Insights
from lyo.predictive.page.skills import Practice
from lyo.predictive.page.times import Clock, Moment

__all__ = ["PlateauCard", "Plateaus", "plateaus"]

MOST_ENDED = 6
WIDTH, HEIGHT = 340, 58
LEFT, RIGHT = 8.0, 332.0
LABEL_ROOM = 62.0
LEAST_WIDTH = 6.0


@dataclass(frozen=True, slots=True)
class PlateauCard:
    """One plateau; ``ended`` is None while it lasts."""

    topic: str
    skill: str
    began: Moment
    detected: Moment
    days: str
    attempts: str
    mastery: str
    improvement: str
    suggestion: str | None
    ended: Moment | None
    ended_because: str
    chart: Timeline


@dataclass(frozen=True, slots=True)
class Plateaus:
    """The section; empty lists mean that no plateau has been found."""

    active: tuple[PlateauCard, ...]
    ended: tuple[PlateauCard, ...]
    practised: bool


def plateaus(practice: Practice, said: Insights, clock: Clock, at: int) -> Plateaus:
    """The section as of an instant in ms: the answer's active plateaus, and the ended ones of the rows."""
    over = _ended(practice, at)
    everything = [*said.active_plateaus, *over]
    begins = [_begin(one, practice, clock, at) for one in everything]
    first = min(begins, default=at)
    axis = Axis(first, max(at, first + 1), LEFT, RIGHT)
    cards = [
        _card(one, begin, practice, clock, _timeline(one, begin, clock, axis, at))
        for one, begin in zip(everything, begins, strict=True)
    ]
    return Plateaus(
        active=tuple(cards[: len(said.active_plateaus)]),
        ended=tuple(cards[len(said.active_plateaus) :]),
        practised=bool(practice.ids) or bool(said.active_plateaus),
    )


def _ended(practice: Practice, at: int) -> list[answers.Plateau]:
    """Plateaus that ended by ``at``, the latest first."""
    found = plateau.predict(practice.states, np.full(len(practice.ids), at, np.int64))
    told = plateau_episodes(practice.states, found, [None] * len(practice.ids))
    over = []
    for skill, episodes in zip(practice.ids, told, strict=True):
        for episode in episodes:
            if not episode.is_active:
                named = msgspec.structs.asdict(episode) | {"skill_id": skill, "topic": practice.topic(skill)}
                over.append(msgspec.convert(named, answers.Plateau))
    over.sort(key=lambda one: (one.ended_at or one.detected_at, one.skill_id), reverse=True)
    return over[:MOST_ENDED]


def _end(one: answers.Plateau, clock: Clock, at: int) -> int:
    return at if one.ended_at is None else min(clock.ms(one.ended_at), at)


def _begin(one: answers.Plateau, practice: Practice, clock: Clock, at: int) -> int:
    """When practice of the topic began: as the row says, else by the days on it."""
    detected = clock.ms(one.detected_at)
    begin = _end(one, clock, at) - max(one.days_on_topic - 1, 0) * DAY
    if one.skill_id in practice.ids:
        state = practice.states[practice.ids.index(one.skill_id)]
        past = state["plateaus"][state["plateaus"]["detected"] == detected // 1000]
        if state["window_detected"] // 1000 == detected // 1000:
            begin = int(state["window_since"])
        elif len(past):
            begin = int(past["since"][0]) * 1000
    return min(begin, detected)


def _card(one: answers.Plateau, begin: int, practice: Practice, clock: Clock, chart: Timeline) -> PlateauCard:
    detected = clock.ms(one.detected_at)
    return PlateauCard(
        topic=one.topic or practice.topic(one.skill_id),
        skill=practice.name(one.skill_id),
        began=clock.date(begin),
        detected=clock.date(detected),
        days=words.days(one.days_on_topic),
        attempts=words.times(one.attempts, "attempt"),
        mastery=words.percent(round(one.mastery_level * 100)),
        improvement=words.points(round(one.mastery_improvement * 100)),
        suggestion=one.intervention_suggested if one.ended_at is None else None,
        ended=None if one.ended_at is None else clock.date(clock.ms(one.ended_at)),
        ended_because=words.ENDED.get(one.ended_because or "", ""),
        chart=chart,
    )


def _timeline(one: answers.Plateau, begin: int, clock: Clock, axis: Axis, at: int) -> Timeline:
    end, detected = _end(one, clock, at), clock.ms(one.detected_at)
    start, stop = axis(begin), axis(end)
    start = max(min(start, stop - LEAST_WIDTH), LEFT)
    ending = "today" if one.ended_at is None else clock.short(end)
    wanted = [(stop, ending), (start, clock.short(begin)), (axis(detected), clock.short(detected))]
    return Timeline(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=RIGHT,
        span=Bar(start, round(max(stop - start, LEAST_WIDTH), 1)),
        detected=axis(detected),
        end=stop,
        labels=tuple(labels_apart(wanted, LEFT, RIGHT, LABEL_ROOM)),
    )
