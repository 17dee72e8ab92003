"""Judges alarms: how often their claim comes true, compared with no alarm and with a simple rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY

__all__ = ["Alarms", "alarms", "odds_ratio", "odds_ratio_within"]

_Z = 1.959964  # of a two-sided 95 % interval

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Odds:
    """An odds ratio with its 95 % bounds."""

    ratio: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Alarms:
    """Alarms over ``n`` questions. None where a share or ratio has no cases.

    ``lift`` is precision over the base rate, ``lift_over_rule`` over the rule's precision. ``flagged_a_day``
    counts learners with an alarm, per day on which anybody was asked about. ``odds`` compares alarmed with
    unalarmed questions; ``odds_within`` does so among each learner's own.
    """

    flagged: int
    precision: float | None
    recall: float | None
    lift: float | None
    lift_over_rule: float | None
    flagged_a_day: float | None
    flagged_share: float | None
    odds: Odds | None
    odds_within: Odds | None


def alarms(alarm: Bools, label: Bools, user: Ints, at: Ints, rule: Bools | None) -> Alarms:
    """Judge alarms ``(n,)`` by whether their claim came true ``(n,)``.

    Args:
        alarm: whether there was one.
        label: whether what it claims came true.
        user: learner of each question.
        at: when it was asked, ms.
        rule: the alarms of the simplest rule, None where there is none.
    """
    hits, flagged, positives = int((alarm & label).sum()), int(alarm.sum()), int(label.sum())
    precision, base = _share(hits, flagged), _share(positives, len(label))
    simple = None if rule is None else _share(int((rule & label).sum()), int(rule.sum()))
    day = at // DAY
    days = len(np.unique(day))
    return Alarms(
        flagged=flagged,
        precision=precision,
        recall=_share(hits, positives),
        lift=_over(precision, base),
        lift_over_rule=_over(precision, simple),
        flagged_a_day=_share(_learner_days(user[alarm], day[alarm]), days),
        flagged_share=_share(_learner_days(user[alarm], day[alarm]), _learner_days(user, day)),
        odds=odds_ratio(alarm, label),
        odds_within=odds_ratio_within(alarm, label, user),
    )


def odds_ratio(alarm: Bools, label: Bools) -> Odds | None:
    """Odds ratio of the label, alarmed to unalarmed, with Woolf's interval; one half is added to each count.

    Haldane 1955 for the half: it keeps the ratio finite where a count is none. None without both kinds.
    """
    if not alarm.any() or alarm.all():
        return None
    counts = np.array(
        [_count(alarm & label), _count(alarm & ~label), _count(~alarm & label), _count(~alarm & ~label)]
    )
    a, b, c, d = (counts + 0.5).tolist()
    return _odds(float(np.log(a * d / (b * c))), float((1 / (counts + 0.5)).sum()))


def odds_ratio_within(alarm: Bools, label: Bools, user: Ints) -> Odds | None:
    """The ratio within learners (Mantel and Haenszel 1959; interval of Robins, Breslow and Greenland 1986).

    What differs between learners does not count, only what the alarm tells of one and the same. None where
    no learner has alarmed and unalarmed questions with both outcomes.
    """
    people, who = np.unique(user, return_inverse=True)
    many = len(people)
    a, b = np.bincount(who, alarm & label, many), np.bincount(who, alarm & ~label, many)
    c, d = np.bincount(who, ~alarm & label, many), np.bincount(who, ~alarm & ~label, many)
    total = np.maximum(a + b + c + d, 1)
    r, s = a * d / total, b * c / total
    if r.sum() <= 0 or s.sum() <= 0:
        return None
    p, q = (a + d) / total, (b + c) / total
    variance = (
        (p * r).sum() / (2 * r.sum() ** 2)
        + (p * s + q * r).sum() / (2 * r.sum() * s.sum())
        + (q * s).sum() / (2 * s.sum() ** 2)
    )
    return _odds(float(np.log(r.sum() / s.sum())), float(variance))


def _odds(logarithm: float, variance: float) -> Odds:
    reach = _Z * float(np.sqrt(variance))
    return Odds(*np.exp([logarithm, logarithm - reach, logarithm + reach]).tolist())


def _learner_days(user: Ints, day: Ints) -> int:
    return len(np.unique(np.stack([user, day], axis=1), axis=0)) if len(user) else 0


def _count(which: Bools) -> int:
    return int(which.sum())


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _over(part: float | None, other: float | None) -> float | None:
    return None if part is None or not other else part / other
