"""The specification's monitoring list and success figures, from predictions and their outcomes.

Sources: specification, "Monitoring" and "Success Metrics". Columns may be grouped: ``count`` says for how
many each entry stands. A figure of nothing is None, never 0. Definitions in words: docs/figures.md.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.state.learner import RECENT, Rows

__all__ = [
    "RESPOND_WITHIN",
    "RETURN_WITHIN",
    "SESSION_WITHIN",
    "WINDOW",
    "Figure",
    "Moments",
    "churn",
    "completion_lift",
    "confidence_bands",
    "coverage",
    "early_intervention",
    "effectiveness",
    "help_acceptance",
    "learning_with_help",
    "reengagement",
    "response_rate",
    "session_conversion",
    "session_starts",
    "struggle_accuracy",
    "timing_impact",
]

WINDOW: Final = 28 * DAY
"""How far back (ms) outcomes of predictions count, and the length of a period of churn."""
RETURN_WITHIN: Final = 14 * DAY
"""A return within this time (ms) after a strategy was executed counts as its effect."""
RESPOND_WITHIN: Final = DAY
"""A response within this time (ms) counts as one to the nudge."""
SESSION_WITHIN: Final = 6 * HOUR
"""A session begun within this time (ms) after a nudge counts as its effect."""
BANDS: Final = ("none", "low", "middle", "high")
"""Confidence 0, under 0.5, under 0.7, and from there."""

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Figure(NamedTuple):
    """One figure: its value (None: no data), the number of cases, and its labels."""

    name: str
    value: float | None
    size: int
    labels: tuple[str, ...] = ()


class Moments(NamedTuple):
    """Instants of learners: ``who (m,)`` is the learner's position, ``at (m,)`` in ms, in any order.

    ``since (n,)``: before it a learner's instants may be missing, because only the newest are kept.
    """

    who: Ints
    at: Ints
    since: Ints


def _share(name: str, part: float, whole: float, *labels: str) -> Figure:
    return Figure(name, part / whole if whole else None, int(whole), labels)


# ---------------------------------------------------------------- struggle


def struggle_accuracy(probability: Floats, struggled: Floats, count: Ints) -> list[Figure]:
    """How often the likelier answer came true, and the Brier score, of ``n`` groups of outcomes.

    ``struggled``: 1 for a struggle, up to a quarter for a success that took longer than usual, else 0.
    """
    total = int(count.sum())
    right = count[(probability >= 0.5) == (struggled >= 0.5)].sum()
    squares = float((count * (probability - struggled) ** 2).sum())
    return [_share("struggle_accuracy", right, total), _share("struggle_brier", squares, total)]


def help_acceptance(offered: Bools, accepted: Bools, count: Ints) -> list[Figure]:
    """Of the offers of help, how many were accepted; one not answered was not."""
    return [_share("help_acceptance_rate", count[offered & accepted].sum(), count[offered].sum())]


def learning_with_help(called_for: Bools, accepted: Bools, struggled: Floats, count: Ints) -> list[Figure]:
    """Of those for whom help was called for, how many did not struggle: with help, without, the difference.

    ``struggled`` as in `struggle_accuracy`: a slow success is less than a whole one.
    Those who need no help are left out: they do well without it, and would hide its effect.
    """
    rates = []
    for label, helped in (("with", accepted), ("without", ~accepted)):
        chosen = called_for & helped
        well = float((count * (1 - struggled))[chosen].sum())
        rates.append(_share("learning_rate", well, count[chosen].sum(), label))
    with_help, without_help = rates[0].value, rates[1].value
    gain = None if with_help is None or without_help is None else with_help - without_help
    return [*rates, Figure("learning_improvement", gain, rates[0].size + rates[1].size)]


# ---------------------------------------------------------------- dropout


def coverage(assessed: int, known: int) -> list[Figure]:
    """Share of the known learners whose dropout risk is assessed: current, and with a confidence above 0."""
    return [_share("dropout_coverage", assessed, known)]


def churn(rows: Rows, now: int) -> list[Figure]:
    """Of the learners active in one period of 28 days, how many were not in the next; and its reduction.

    Args:
        rows: LEARNER rows ``(n,)``.
        now: ms; the current period ends with its UTC day.
    """
    today = now // DAY
    age = today - (rows["day"].astype(np.int64) - 1)
    busy = (rows["day"] > 0) & ((rows["started"] > 0) | (rows["completed"] > 0)) & (age >= 0)
    periods = [(busy & (age >= 28 * k) & (age < 28 * (k + 1))).any(axis=1) for k in range(3)]
    rates = [
        _share("churn_rate", (periods[k + 1] & ~periods[k]).sum(), periods[k + 1].sum(), label)
        for k, label in ((0, "current"), (1, "previous"))
    ]
    rate, before = rates[0].value, rates[1].value
    reduction = None if rate is None or not before else 1 - rate / before
    return [*rates, Figure("churn_reduction", reduction, rates[0].size)]


def early_intervention(flagged: Ints, executed: Ints) -> list[Figure]:
    """Of the learners whose risk was high, how many were reached: a strategy was executed afterwards.

    Args:
        flagged: when it was first found high in the window ``(n,)``, ms.
        executed: the newest strategy executed ``(n,)``, ms, -1 = none.
    """
    return [_share("early_intervention_rate", (executed >= flagged).sum(), len(flagged))]


def reengagement(executed: Ints, returned: Ints, now: int) -> list[Figure]:
    """Of the strategies executed, how many brought the learner back within 14 days.

    Only those at least 14 days old count, and none older than the window before that: a younger one has not
    had its time. ``executed (n,)`` and ``returned (n,)`` in ms, -1 = not.
    """
    ripe = (executed >= 0) & (executed <= now - RETURN_WITHIN) & (executed > now - RETURN_WITHIN - WINDOW)
    back = ripe & (returned >= executed) & (returned <= executed + RETURN_WITHIN)
    return [
        _share("reengagement_rate", back.sum(), ripe.sum()),
        _share("intervention_effectiveness", back.sum(), ripe.sum(), "dropout", "yes"),
    ]


def effectiveness(kind: str, helped: Bools, engaged: Bools, count: Ints) -> list[Figure]:
    """Of groups ``(n,)`` of plateaus or regressions, how many were worked on again, with help and without."""
    return [
        _share("intervention_effectiveness", count[chosen & engaged].sum(), count[chosen].sum(), kind, label)
        for label, chosen in (("yes", helped), ("no", ~helped))
    ]


# ---------------------------------------------------------------- timing


def timing_impact(peak: Bools, scores: Floats) -> list[Figure]:
    """How much better the mean learner scores in the own peak hours than in the others.

    ``peak (n, 24)`` by local hour, ``scores (n, 24)`` in [0, 1], NaN where nothing is known. Learners with
    only one of the two are left out.
    """
    known = ~np.isnan(scores)
    inside, outside = peak & known, ~peak & known
    both = inside.any(axis=1) & outside.any(axis=1)
    if not both.any():
        return [Figure("timing_impact", None, 0)]
    inside, outside, values = inside[both], outside[both], np.nan_to_num(scores[both])
    differences = (values * inside).sum(axis=1) / inside.sum(axis=1) - (values * outside).sum(
        axis=1
    ) / outside.sum(axis=1)
    return [Figure("timing_impact", float(differences.mean()), len(differences))]


def completion_lift(rows: Rows, peak: Bools, zones: Zones) -> list[Figure]:
    """How many more lessons an hour of study brings in the own peak hours than in the others, as a share.

    From the newest 16 sessions and completions of each LEARNER row ``(n,)``, as far back as both
    are complete.
    """
    began, ended, studied = _recent_sessions(rows)
    done = (rows["recent_completions"].astype(np.int64) - 1) * 1_000
    since = np.maximum(_complete_since(began, studied), _complete_since(done, done >= 0))
    finished = (done >= 0) & (done >= since[:, None])
    usable = studied & (began >= since[:, None])
    hours = _hours_of_study(began, ended, usable, zones)
    who, _ = np.nonzero(finished)
    hour = (done[finished] + zones.offsets(done[finished], who)) // HOUR % 24
    lessons = np.bincount(who * 24 + hour, minlength=len(rows) * 24).reshape(len(rows), 24)
    inside, outside = hours * peak, hours * ~peak
    both = (inside.sum(axis=1) > 0) & (outside.sum(axis=1) > 0)
    count = int(both.sum())
    rates = [(lessons[both] * w[both]).sum() / hours[both][w[both]].sum() for w in (peak, ~peak) if count]
    if not count or not rates[1]:
        return [Figure("completion_lift", None, count)]
    return [Figure("completion_lift", float(rates[0] / rates[1] - 1), count)]


def _recent_sessions(rows: Rows) -> tuple[Ints, Ints, Bools]:
    """Begin and end (ms) of the newest sessions ``(n, 16)``, and which of the places hold one."""
    kept = rows["recent_sessions"]
    ended = ((kept >> np.uint64(16)).astype(np.int64) - 1) * 1_000
    minutes = (kept & np.uint64(0xFFFF)).astype(np.int64)
    return ended - minutes * 60_000, ended, kept > 0


def _complete_since(at: Ints, held: Bools) -> Ints:
    """From when on the newest 16 are all there were ``(n,)``: the oldest of a full list, else always."""
    full = held.sum(axis=1) >= RECENT
    return np.where(full, np.where(held, at, np.iinfo(np.int64).max).min(axis=1), 0)


def _hours_of_study(began: Ints, ended: Ints, usable: Bools, zones: Zones) -> Floats:
    """Hours of study by local hour ``(n, 24)`` of sessions ``(n, 16)``."""
    who, _ = np.nonzero(usable)
    start, length = began[usable], (ended - began)[usable]
    local = start + zones.offsets(start, who)
    hours = np.zeros((usable.shape[0], 24))
    floor = local // HOUR * HOUR
    for step in range(25):
        low, high = floor + step * HOUR, floor + (step + 1) * HOUR
        inside = np.clip(np.minimum(high, local + length) - np.maximum(low, local), 0, None)
        np.add.at(hours, (who, low // HOUR % 24), inside / HOUR)
    return hours


def response_rate(nudges: Moments, responses: Moments, peak: Bools, zones: Zones, now: int) -> list[Figure]:
    """Of the nudges, how many were answered within a day: in the learner's peak hours, and at others."""
    ripe = _ripe(nudges, responses, RESPOND_WITHIN, now)
    who, at = nudges.who[ripe], nudges.at[ripe]
    hour = (at + zones.offsets(at, who)) // HOUR % 24
    timely = peak[who, hour]
    answered = _followed(who, at, responses, RESPOND_WITHIN)
    return [
        _share("response_rate", (chosen & answered).sum(), chosen.sum(), label)
        for label, chosen in (("peak", timely), ("other", ~timely))
    ]


def session_conversion(nudges: Moments, sessions: Moments, now: int) -> list[Figure]:
    """Of the nudges, how many were followed by the begin of a session within six hours."""
    ripe = _ripe(nudges, sessions, SESSION_WITHIN, now)
    who, at = nudges.who[ripe], nudges.at[ripe]
    converted = _followed(who, at, sessions, SESSION_WITHIN)
    return [_share("session_conversion", converted.sum(), len(who))]


def session_starts(rows: Rows) -> Moments:
    """When the newest sessions of LEARNER rows ``(n,)`` began, the one that is open included."""
    began, _, held = _recent_sessions(rows)
    who, _ = np.nonzero(held)
    opened = np.flatnonzero(rows["open_since"] >= 0)
    at = np.concatenate([began[held], rows["open_since"][opened]])
    return Moments(np.concatenate([who, opened]), at, _complete_since(began, held))


def _ripe(nudges: Moments, then: Moments, within: int, now: int) -> Bools:
    """Which nudges ``(m,)`` have had their time, lie in the window, and whose sequel is known."""
    at = nudges.at
    known = at >= np.maximum(nudges.since, then.since)[nudges.who]
    return known & (at <= now - within) & (at > now - within - WINDOW)


def _followed(who: Ints, at: Ints, then: Moments, within: int) -> Bools:
    """Whether each instant ``(m,)`` of a learner was followed by one of ``then``."""
    order = np.lexsort((then.at, then.who))
    owners, instants = then.who[order], then.at[order]
    followed = np.zeros(len(who), bool)
    for place, (learner, instant) in enumerate(zip(who.tolist(), at.tolist(), strict=True)):
        low, high = np.searchsorted(owners, (learner, learner + 1))
        following = np.searchsorted(instants[low:high], instant, side="right") + low
        followed[place] = following < high and instants[following] <= instant + within
    return followed


# ---------------------------------------------------------------- confidence


def confidence_bands(kind: str, confidence: Floats, count: Ints) -> list[Figure]:
    """How many predictions of a kind have which confidence: "none" are learners below the minimum data."""
    band = np.where(confidence > 0, 1 + np.searchsorted(np.array([0.5, 0.7]), confidence, side="right"), 0)
    counts = np.bincount(band, count, len(BANDS))
    return [
        Figure("confidence", float(counts[place]), int(count.sum()), (kind, name))
        for place, name in enumerate(BANDS)
    ]
