"""The dropout risk: level, score, and its factors as bars to either side of the neutral point."""

from __future__ import annotations

from dataclasses import dataclass

from lyo.models.formulas.dropout import FACTORS
from lyo.models.formulas.dropout_factors import A_LONG_GAP
from lyo.predictive.page import words
from lyo.predictive.page.charts import Axis, Bar, bar
from lyo.predictive.page.insights import DropoutRisk, Step

__all__ = ["BAR_WIDTH", "METER_WIDTH", "Part", "Risk", "risk"]

NEUTRAL = 50
SHOWN_FROM = 0.1  # confidence; below it the risk says nothing about this learner
OFFERED = ("high", "critical")
METER_WIDTH, BAR_WIDTH = 320, 160
_METER = Axis(0, 100, 2, METER_WIDTH - 2)
_BANDS = ((0, 30, "low"), (30, 50, "medium"), (50, 70, "high"), (70, 100, "critical"))


@dataclass(frozen=True, slots=True)
class Part:
    """One factor's contribution: ``sense`` is raises, lowers or nothing."""

    name: str
    label: str
    raised_by: str
    text: str
    sense: str
    bar: Bar


@dataclass(frozen=True, slots=True)
class Risk:
    """The section; ``missing`` says why there is no answer yet, and then the rest is empty."""

    missing: str | None
    score: str = ""
    level: str = "low"
    level_name: str = ""
    meaning: str = ""
    confidence: str | None = None
    marker: float = 0.0
    bands: tuple[tuple[Bar, str], ...] = ()
    parts: tuple[Part, ...] = ()
    sum: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    offers: tuple[Step, ...] = ()


def risk(answer: DropoutRisk | None) -> Risk:
    """The section for an answer of ``/dropout/risk``."""
    if answer is None or (answer.confidence is not None and answer.confidence < SHOWN_FROM):
        reason = "not enough data" if answer is None else answer.reason
        return Risk(missing=reason or "not enough data: the first days say little")
    score = round(answer.risk_score * 100)
    name, meaning = words.LEVELS.get(answer.risk_level, (answer.risk_level, ""))
    strategy = answer.reengagement_strategy if answer.risk_level in OFFERED else None
    amounts = _amounts(answer, score)
    return Risk(
        missing=None,
        score=words.number(score),
        level=answer.risk_level,
        level_name=name,
        meaning=meaning,
        confidence=None if answer.confidence is None else words.number(round(answer.confidence * 100)),
        marker=_METER(score),
        bands=tuple((Bar(_METER(low), round(_METER(high) - _METER(low), 1)), of) for low, high, of in _BANDS),
        parts=_parts(amounts, answer),
        sum=" ".join(
            [words.number(NEUTRAL), *(_term(amount) for _, amount in amounts), "=", words.number(score)]
        ),
        facts=_facts(answer),
        offers=() if strategy is None else strategy.interventions,
    )


def _amounts(answer: DropoutRisk, score: int) -> list[tuple[str, int]]:
    """Contributions in hundredths, the strongest first, adding up to the score's distance from neutral."""
    amounts = [(factor.name, round(factor.contribution * 100)) for factor in answer.factors]
    amounts.sort(key=lambda amount: -abs(amount[1]))
    rest = score - NEUTRAL - sum(amount for _, amount in amounts)
    return [*amounts, ("other", rest)] if amounts and rest else amounts


def _term(amount: int) -> str:
    return f"{'−' if amount < 0 else '+'} {words.number(abs(amount))}"


def _parts(amounts: list[tuple[str, int]], answer: DropoutRisk) -> tuple[Part, ...]:
    """Each part; what raises a factor is said only where the answer names it, so that it is so."""
    most = max((abs(amount) for _, amount in amounts), default=0)
    middle = BAR_WIDTH / 2
    return tuple(
        Part(
            name,
            *_words(name, answer),
            words.signed(amount),
            "raises" if amount > 0 else "lowers" if amount < 0 else "nothing",
            bar(amount, most, middle, middle - 2),
        )
        for name, amount in amounts
    )


def _words(name: str, answer: DropoutRisk) -> tuple[str, str]:
    label, raised_by = words.FACTORS.get(name, (name.replace("_", " ").capitalize(), ""))
    if name == "infrequent_sessions" and (answer.avg_days_between_sessions or 0) >= A_LONG_GAP:
        raised_by = words.SELDOM
    return label, "" if name in FACTORS and name not in answer.risk_factors else raised_by


def _facts(answer: DropoutRisk) -> tuple[tuple[str, str], ...]:
    gap = answer.avg_days_between_sessions
    facts = (
        ("Current streak", None if answer.current_streak is None else words.days(answer.current_streak)),
        ("Longest streak", None if answer.longest_streak is None else words.days(answer.longest_streak)),
        ("Between study days", None if gap is None else f"{gap:.1f} days"),
        (
            "Since the last lesson",
            None
            if answer.days_since_last_completion is None
            else words.days(answer.days_since_last_completion),
        ),
    )
    return tuple((label, value) for label, value in facts if value is not None)
