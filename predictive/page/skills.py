"""Skills that matter: forgetting curves, those that are fading first, then those to review next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY
from lyo.models.formulas import curves, regression
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
    """The learner's ``n`` skills: ids, MEMORY states ``(n,)``, names, topics that events named."""

    ids: tuple[str, ...]
    states: NDArray[np.void]
    names: Mapping[str, str]
    topics: Mapping[str, str]

    @staticmethod
    def read(
        rows: Sequence[tuple[str, bytes]], names: Mapping[str, str], said: Mapping[str, str]
    ) -> Practice:
        """Decode stored rows; what the answer calls a skill goes before the catalogue's name."""
        if not rows:
            return Practice((), np.zeros(0, SKILL)["now"], {**names, **said}, {})
        decoded, topics = decode_skills([row for _, row in rows])
        ids = tuple(skill for skill, _ in rows)
        known = {skill: topic for skill, topic in zip(ids, topics, strict=True) if topic is not None}
        return Practice(ids, decoded["now"], {**names, **said}, known)

    def name(self, skill: str) -> str:
        """What people call a skill: its id where nothing better is known."""
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
class _Found:
    practice: Practice
    said: Insights
    clock: Clock
    at: int
    curves: curves.Curves
    lost: regression.Regressions


def skills(practice: Practice, said: Insights, clock: Clock, at: int) -> Skills:
    """The section as of an instant in ms."""
    if not practice.ids:
        return Skills(missing="no skill has been practised yet")
    as_of = np.full(len(practice.ids), at, np.int64)
    found = _Found(
        practice,
        said,
        clock,
        at,
        curves.forgetting(practice.states, as_of),
        regression.predict(practice.states, as_of),
    )
    order = _order(found)
    mastered = [one for one in order if found.curves.limit[one] >= 0]
    shown = mastered[:MOST_CARDS]
    rest = [one for one in order if one not in set(shown)]
    return Skills(
        missing=None,
        cards=tuple(_card(found, one) for one in shown),
        others=tuple(_line(found, one) for one in rest[:MOST_LINES]),
        left_out=max(len(rest) - MOST_LINES, 0),
    )


def _order(found: _Found) -> list[int]:
    """Fading skills by urgency, then by review date, then those not yet mastered, the latest first."""
    review = np.where(found.curves.review < 0, np.iinfo(np.int64).max, found.curves.review)
    urgency = np.where(found.lost.active, -found.lost.score, 1)
    order: list[int] = np.lexsort(
        (np.array(found.practice.ids), -found.curves.last, review, urgency)
    ).tolist()
    return order


def _line(found: _Found, one: int) -> SkillLine:
    c, clock = found.curves, found.clock
    skill, review = found.practice.ids[one], int(c.review[one])
    return SkillLine(
        skill_id=skill,
        name=found.practice.name(skill),
        now=words.percent(int(c.now[one])),
        next_week=words.percent(int(c.next_week[one])),
        peak=None if c.peak[one] < 0 else words.percent(int(c.peak[one])),
        limit=None if c.limit[one] < 0 else words.percent(int(c.limit[one])),
        practised=clock.date(int(c.last[one])),
        review=None if review < 0 else clock.date(review),
        review_in="" if review < 0 else in_days(clock.days_until(found.at, review)),
        fading=bool(found.lost.active[one]),
    )


def _card(found: _Found, one: int) -> SkillCard:
    line = _line(found, one)
    lost = found.lost
    urgency = regression.LEVELS[int(lost.urgency[one])] if line.fading else None
    return SkillCard(
        line=line,
        urgency=urgency,
        urgency_name="" if urgency is None else words.URGENCY[urgency],
        since=found.clock.date(int(lost.detected[one])) if line.fading else None,
        lost=words.points(-int(lost.amount[one])),
        chart=_chart(found, one),
        table=_table(found, one),
    )


def _table(found: _Found, one: int) -> tuple[tuple[str, Moment, str], ...]:
    c = found.curves
    rows = [
        (int(c.last[one]), 0, "Last practised", int(c.learned[one])),
        (found.at, 2, "Today", int(c.now[one])),
        (found.at + 7 * DAY, 3, "In a week, without practice", int(c.next_week[one])),
    ]
    review = int(c.review[one])
    if review > int(c.last[one]):
        rows.append((review, 1, "Review date", int(c.limit[one])))
    return tuple(
        (what, found.clock.date(when), words.percent(level)) for when, _, what, level in sorted(rows)
    )


def _chart(found: _Found, one: int) -> CurveChart:
    c, state = found.curves, found.practice.states[one : one + 1]
    last, review = int(c.last[one]), int(c.review[one])
    ahead = min(max(LEAST_AHEAD, review + 3 * DAY - found.at), MOST_AHEAD)
    end = found.at + ahead
    x, y = Axis(last, end, LEFT, RIGHT), Axis(0, 100, FOOT, TOP)

    def along(start: int, stop: int) -> str:
        at = np.linspace(start, max(stop, start), SAMPLES).astype(np.int64)
        level = curves.points(state, at)
        return path(
            [(x(when), y(value * 100)) for when, value in zip(at.tolist(), level.tolist(), strict=True)]
        )

    marked = review if last <= review <= end else -1
    wanted = [(x(found.at), "today")]
    wanted += [(x(marked), found.clock.short(marked))] if marked >= 0 else []
    wanted += [(x(last), found.clock.short(last)), (x(end), found.clock.short(end))]
    return CurveChart(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=RIGHT,
        grid=tuple((y(level), words.percent(level)) for level in (0, 50, 100)),
        past=along(last, found.at),
        future=along(max(found.at, last), end),
        today=Mark(x(found.at), y(int(c.now[one]))),
        peak_y=None if c.peak[one] < 0 else y(int(c.peak[one])),
        limit_y=None if c.limit[one] < 0 else y(int(c.limit[one])),
        review=None if marked < 0 else Mark(x(marked), y(int(c.limit[one]))),
        week=Mark(x(found.at + 7 * DAY), y(int(c.next_week[one]))),
        labels=tuple(labels_apart(wanted, LEFT, RIGHT, LABEL_ROOM)),
    )
