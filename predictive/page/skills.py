"""The skills with their forgetting curves: fading ones first, then those to review next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY
from lyo.models.formulas import curves, regression
from lyo.models.formulas.recall import Calibration, calibrate
from lyo.models.state.layout import decode_skills
from lyo.models.state.skill import SKILL
from lyo.predictive.page import words
from lyo.predictive.page.charts import Axis, CurveChart, Mark, labels_apart, path
from lyo.predictive.page.insights import Insights
from lyo.predictive.page.times import Clock, Moment, in_days

__all__ = ["Practice", "SkillCard", "SkillLine", "Skills", "skills"]

MOST_CARDS, MOST_LINES = 6, 200
LEAST_AHEAD, MOST_AHEAD = 14 * DAY, 60 * DAY
SAMPLES = 32
WIDTH, HEIGHT = 340, 176
LEFT, RIGHT, TOP, FOOT = 38.0, 332.0, 14.0, 148.0
LABEL_ROOM = 56.0


@dataclass(frozen=True, slots=True)
class Practice:
    """The learner's ``n`` skills: ids, MEMORY states ``(n,)``, names, topics that events named.

    ``learner (1,)`` is the LEARNER row, whose reviews say how this learner remembers.
    """

    ids: tuple[str, ...]
    states: NDArray[np.void]
    learner: NDArray[np.void]
    names: Mapping[str, str]
    topics: Mapping[str, str]

    @staticmethod
    def read(
        rows: Sequence[tuple[str, bytes]],
        learner: NDArray[np.void],
        names: Mapping[str, str],
        answered: Mapping[str, str],
    ) -> Practice:
        """Decode stored rows. A name in the answer (``answered``, by skill id) wins over the catalogue's."""
        if not rows:
            return Practice((), np.zeros(0, SKILL)["now"], learner, {**names, **answered}, {})
        decoded, topics = decode_skills([row for _, row in rows])
        ids = tuple(skill for skill, _ in rows)
        known = {skill: topic for skill, topic in zip(ids, topics, strict=True) if topic is not None}
        return Practice(ids, decoded["now"], learner, {**names, **answered}, known)

    def name(self, skill: str) -> str:
        """The skill's name; its id, if no name is known."""
        return self.names.get(skill) or skill

    def topic(self, skill: str) -> str:
        """The topic under which a skill was practised, else its name."""
        return self.topics.get(skill) or self.name(skill)


@dataclass(frozen=True, slots=True)
class SkillLine:
    """A skill in numbers; times and levels that do not exist are None."""

    skill_id: str
    name: str
    now: str
    next_week: str
    peak: str | None
    limit: str | None
    practised: Moment
    review: Moment | None
    review_in: str
    fading: bool


@dataclass(frozen=True, slots=True)
class SkillCard:
    """A skill with its curve. ``table`` has the curve's marked points in order: what, when, mastery."""

    line: SkillLine
    urgency: str | None
    urgency_name: str
    since: Moment | None
    lost: str
    chart: CurveChart
    table: tuple[tuple[str, Moment, str], ...]


@dataclass(frozen=True, slots=True)
class Skills:
    """The section; ``missing`` says why there is none."""

    missing: str | None
    cards: tuple[SkillCard, ...] = ()
    others: tuple[SkillLine, ...] = ()
    left_out: int = 0


@dataclass(slots=True)
class _Sources:
    practice: Practice
    said: Insights
    clock: Clock
    at: int
    learner: Calibration
    curves: curves.Curves
    lost: regression.Regressions


def skills(practice: Practice, insights: Insights, clock: Clock, at: int) -> Skills:
    """The section as of an instant in ms."""
    if not practice.ids:
        return Skills(missing="no skill has been practised yet")
    as_of = np.full(len(practice.ids), at, np.int64)
    learner = calibrate(practice.learner, np.array([at])).take(np.zeros(len(practice.ids), np.int64))
    sources = _Sources(
        practice,
        insights,
        clock,
        at,
        learner,
        curves.forgetting(practice.states, as_of, learner),
        regression.predict(practice.states, as_of, learner),
    )
    order = _order(sources)
    mastered = [index for index in order if sources.curves.limit[index] >= 0]
    shown = mastered[:MOST_CARDS]
    rest = [index for index in order if index not in set(shown)]
    return Skills(
        missing=None,
        cards=tuple(_card(sources, index) for index in shown),
        others=tuple(_line(sources, index) for index in rest[:MOST_LINES]),
        left_out=max(len(rest) - MOST_LINES, 0),
    )


def _order(sources: _Sources) -> list[int]:
    """Fading skills by urgency, then by review date, then those not yet mastered, the latest first."""
    review = np.where(sources.curves.review < 0, np.iinfo(np.int64).max, sources.curves.review)
    urgency = np.where(sources.lost.active, -sources.lost.score, 1)
    order: list[int] = np.lexsort(
        (np.array(sources.practice.ids), -sources.curves.last, review, urgency)
    ).tolist()
    return order


def _line(sources: _Sources, index: int) -> SkillLine:
    c, clock = sources.curves, sources.clock
    skill, review = sources.practice.ids[index], int(c.review[index])
    return SkillLine(
        skill_id=skill,
        name=sources.practice.name(skill),
        now=words.percent(int(c.now[index])),
        next_week=words.percent(int(c.next_week[index])),
        peak=None if c.peak[index] < 0 else words.percent(int(c.peak[index])),
        limit=None if c.limit[index] < 0 else words.percent(int(c.limit[index])),
        practised=clock.date(int(c.last[index])),
        review=None if review < 0 else clock.date(review),
        review_in="" if review < 0 else in_days(clock.days_until(sources.at, review)),
        fading=bool(sources.lost.active[index]),
    )


def _card(sources: _Sources, index: int) -> SkillCard:
    line = _line(sources, index)
    lost = sources.lost
    urgency = regression.LEVELS[int(lost.urgency[index])] if line.fading else None
    return SkillCard(
        line=line,
        urgency=urgency,
        urgency_name="" if urgency is None else words.URGENCY[urgency],
        since=sources.clock.date(int(lost.detected[index])) if line.fading else None,
        lost=words.points(-int(lost.amount[index])),
        chart=_chart(sources, index),
        table=_table(sources, index),
    )


def _table(sources: _Sources, index: int) -> tuple[tuple[str, Moment, str], ...]:
    c = sources.curves
    rows = [
        (int(c.last[index]), 0, "Last practised", int(c.learned[index])),
        (sources.at, 2, "Today", int(c.now[index])),
        (sources.at + 7 * DAY, 3, "In a week, without practice", int(c.next_week[index])),
    ]
    review = int(c.review[index])
    if review > int(c.last[index]):
        rows.append((review, 1, "Review date", int(c.limit[index])))
    return tuple(
        (what, sources.clock.date(when), words.percent(level)) for when, _, what, level in sorted(rows)
    )


def _chart(sources: _Sources, index: int) -> CurveChart:
    c, state = sources.curves, sources.practice.states[index : index + 1]
    last, review = int(c.last[index]), int(c.review[index])
    ahead = min(max(LEAST_AHEAD, review + 3 * DAY - sources.at), MOST_AHEAD)
    end = sources.at + ahead
    x, y = Axis(last, end, LEFT, RIGHT), Axis(0, 100, FOOT, TOP)

    def along(start: int, stop: int) -> str:
        at = np.linspace(start, max(stop, start), SAMPLES).astype(np.int64)
        level = curves.points(state, at, sources.learner.take(np.array([index])))
        return path(
            [(x(when), y(value * 100)) for when, value in zip(at.tolist(), level.tolist(), strict=True)]
        )

    marked = review if last <= review <= end else -1
    texts = [(x(sources.at), "today")]
    texts += [(x(marked), sources.clock.short(marked))] if marked >= 0 else []
    texts += [(x(last), sources.clock.short(last)), (x(end), sources.clock.short(end))]
    return CurveChart(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=RIGHT,
        grid=tuple((y(level), words.percent(level)) for level in (0, 50, 100)),
        past=along(last, sources.at),
        future=along(max(sources.at, last), end),
        today=Mark(x(sources.at), y(int(c.now[index]))),
        peak_y=None if c.peak[index] < 0 else y(int(c.peak[index])),
        limit_y=None if c.limit[index] < 0 else y(int(c.limit[index])),
        review=None if marked < 0 else Mark(x(marked), y(int(c.limit[index]))),
        week=Mark(x(sources.at + 7 * DAY), y(int(c.next_week[index]))),
        labels=tuple(labels_apart(texts, LEFT, RIGHT, LABEL_ROOM)),
    )
