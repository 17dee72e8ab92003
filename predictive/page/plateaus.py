"""Plateaus on one time axis: the active ones first, then those that have ended."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from lyo.models.arrays.zones import DAY
from lyo.models.formulas import plateau as formula
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


def plateaus(practice: Practice, insights: Insights, clock: Clock, at: int) -> Plateaus:
    """The section as of an instant in ms: the answer's active plateaus, and the ended ones of the rows."""
    ended = _ended(practice, at)
    everything = [*insights.active_plateaus, *ended]
    begins = [_begin(plateau, practice, clock, at) for plateau in everything]
    first = min(begins, default=at)
    axis = Axis(first, max(at, first + 1), LEFT, RIGHT)
    cards = [
        _card(plateau, begin, practice, clock, _timeline(plateau, begin, clock, axis, at))
        for plateau, begin in zip(everything, begins, strict=True)
    ]
    return Plateaus(
        active=tuple(cards[: len(insights.active_plateaus)]),
        ended=tuple(cards[len(insights.active_plateaus) :]),
        practised=bool(practice.ids) or bool(insights.active_plateaus),
    )


def _ended(practice: Practice, at: int) -> list[answers.Plateau]:
    """Plateaus that ended by ``at``, the latest first."""
    predictions = formula.predict(practice.states, np.full(len(practice.ids), at, np.int64))
    histories = plateau_episodes(practice.states, predictions, [None] * len(practice.ids))
    ended = []
    for skill, episodes in zip(practice.ids, histories, strict=True):
        for episode in episodes:
            if episode.ended_at is not None:
                named = msgspec.structs.asdict(episode) | {"skill_id": skill, "topic": practice.topic(skill)}
                ended.append(msgspec.convert(named, answers.Plateau))
    ended.sort(key=lambda plateau: (plateau.ended_at or plateau.detected_at, plateau.skill_id), reverse=True)
    return ended[:MOST_ENDED]


def _end(plateau: answers.Plateau, clock: Clock, at: int) -> int:
    return at if plateau.ended_at is None else min(clock.ms(plateau.ended_at), at)


def _begin(plateau: answers.Plateau, practice: Practice, clock: Clock, at: int) -> int:
    """When practice of the topic began, in ms: as the row says, else counted back by the days on it."""
    detected = clock.ms(plateau.detected_at)
    begin = _end(plateau, clock, at) - max(plateau.days_on_topic - 1, 0) * DAY
    if plateau.skill_id in practice.ids:
        state = practice.states[practice.ids.index(plateau.skill_id)]
        past = state["plateaus"][state["plateaus"]["detected"] == detected // 1000]
        if state["window_detected"] // 1000 == detected // 1000:
            begin = int(state["window_since"])
        elif len(past):
            begin = int(past["since"][0]) * 1000
    return min(begin, detected)


def _card(
    plateau: answers.Plateau, begin: int, practice: Practice, clock: Clock, chart: Timeline
) -> PlateauCard:
    detected = clock.ms(plateau.detected_at)
    return PlateauCard(
        topic=plateau.topic or practice.topic(plateau.skill_id),
        skill=practice.name(plateau.skill_id),
        began=clock.date(begin),
        detected=clock.date(detected),
        days=words.days(plateau.days_on_topic),
        attempts=words.times(plateau.attempts, "attempt"),
        mastery=words.percent(round(plateau.mastery_level * 100)),
        improvement=words.points(round(plateau.mastery_improvement * 100)),
        suggestion=plateau.intervention_suggested if plateau.ended_at is None else None,
        ended=None if plateau.ended_at is None else clock.date(clock.ms(plateau.ended_at)),
        ended_because=words.ENDED.get(plateau.ended_because or "", ""),
        chart=chart,
    )


def _timeline(plateau: answers.Plateau, begin: int, clock: Clock, axis: Axis, at: int) -> Timeline:
    end, detected = _end(plateau, clock, at), clock.ms(plateau.detected_at)
    start, stop = axis(begin), axis(end)
    start = max(min(start, stop - LEAST_WIDTH), LEFT)
    ending = "today" if plateau.ended_at is None else clock.short(end)
    texts = [(stop, ending), (start, clock.short(begin)), (axis(detected), clock.short(detected))]
    return Timeline(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=RIGHT,
        span=Bar(start, round(max(stop - start, LEAST_WIDTH), 1)),
        detected=axis(detected),
        end=stop,
        labels=tuple(labels_apart(texts, LEFT, RIGHT, LABEL_ROOM)),
    )
