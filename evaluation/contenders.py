"""The contenders of an evaluation: the served model, the constant, a simple rule, and fitted models.

A contender sees the state when a question is asked, through `observe`, and says what it makes of that
when all is over, through `conclude`. Only what learns from labels looks at them there: with folds from
the other folds, without from what was settled before each question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.events.queries import Queries

HOURS = 24

__all__ = ["HOURS", "Constant", "Contender", "Fitted", "Known", "Rule", "Served", "Verdict"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Probabilities ``(n,)`` of the label; alarms and levels ``(n,)`` where the contender gives any.

    A level is an index into the task's levels, -1 = none. Of timing: probabilities ``(n, 24)`` by hour, as
    ``alarm (n, 24)`` the hours called peaks, and ``good (n, 2)``: whether the session begins at what is
    called a good time, and the share of the week that is.
    """

    probability: Floats
    alarm: Bools | None = None
    level: Ints | None = None
    good: Floats | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The questions, and which of their labels may be learned from."""

    queries: Queries
    folds: Ints | None

    def rate(self, category: Ints) -> Floats:
        """Rate of the label among known questions of a category ``(n,)``, with a prior of two at a half."""
        rates = np.empty(len(category))
        for value in np.unique(category).tolist():
            same = category == value
            rates[same] = self._rate(same)
        return rates

    def _rate(self, same: Bools) -> Floats:
        label, asked_at = self.queries.label[same], self.queries.at[same]
        if self.folds is not None:
            fold = self.folds[same]
            many = int(self.folds.max()) + 1
            total, positive = np.bincount(fold, minlength=many), np.bincount(fold, label, many)
            others: Floats = (label.sum() - positive + 1.0) / (len(label) - total + 2.0)
            return others[fold]
        order = np.argsort(self.queries.settled[same], kind="stable")
        settled = self.queries.settled[same][order]
        positives = np.r_[0, np.cumsum(label[order])]
        known = np.searchsorted(settled, asked_at, side="left")
        rates: Floats = (positives[known] + 1.0) / (known + 2.0)
        return rates


class Contender(Protocol):
    """One of the models side by side."""

    @property
    def what(self) -> str:
        """A phrase that describes it."""

    @property
    def observe(self) -> Callable[[Any], Floats] | None:
        """Features ``(m, f)`` of a task's scene of ``m`` questions; None: none are needed."""

    def conclude(self, observed: Floats, known: Known) -> Verdict:
        """The verdict from the features ``(n, f)`` of all questions."""


@dataclass(frozen=True, slots=True)
class Served:
    """A served model: `observe` gives its probability and, if it has them, alarm and level.

    Of timing: 24 probabilities, 24 marks of peak hours, and the two columns of ``Verdict.good``.
    """

    what: str
    observe: Callable[[Any], Floats]

    def conclude(self, observed: Floats, known: Known) -> Verdict:
        """The verdict that the features hold."""
        width = observed.shape[1]
        if width == 2 * HOURS + 2:
            peaks = observed[:, HOURS : 2 * HOURS] > 0
            return Verdict(observed[:, :HOURS], peaks, good=observed[:, 2 * HOURS :])
        alarm = observed[:, 1] > 0 if width > 1 else None
        return Verdict(observed[:, 0], alarm, observed[:, 2].astype(np.int64) if width > 2 else None)


@dataclass(frozen=True, slots=True)
class Constant:
    """The overall rate of known labels, for every learner."""

    what: str = "the overall rate until then"
    observe: None = None

    def conclude(self, observed: Floats, known: Known) -> Verdict:
        """The same rate for all questions of one time."""
        return Verdict(known.rate(known.queries.stratum))


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of thumb that alarms or not (`observe` gives 0 or 1), with the known rate of either."""

    what: str
    observe: Callable[[Any], Floats]
    alarms: bool = True

    def conclude(self, observed: Floats, known: Known) -> Verdict:
        """Rates by the rule's answer, and its alarms."""
        answer = observed[:, 0].astype(np.int64)
        alarm = answer == 1 if self.alarms else None
        return Verdict(known.rate(known.queries.stratum * 2 + answer), alarm)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model fitted on the other folds, by stratum: `observe` gives its features ``(m, f)``.

    Args:
        what: a sentence.
        observe: the features.
        fit: from features ``(k, f)`` and labels ``(k,)`` to a function from features to probabilities.
        alarm_from: probability from which on it alarms, None for no alarms.
    """

    what: str
    observe: Callable[[Any], Floats]
    fit: Callable[[Floats, Bools], Callable[[Floats], Floats]]
    alarm_from: float | None = None

    def conclude(self, observed: Floats, known: Known) -> Verdict:
        """Fit each fold's model on the others.

        Raises:
            ValueError: there are no folds, or one only.
        """
        if known.folds is None or known.folds.max(initial=0) < 1:
            raise ValueError("a fitted model needs --split, and two learners or groups at least")
        probability = np.empty(len(observed))
        for stratum in np.unique(known.queries.stratum).tolist():
            mine = known.queries.stratum == stratum
            for fold in np.unique(known.folds[mine]).tolist():
                test, train = mine & (known.folds == fold), mine & (known.folds != fold)
                probability[test] = self.fit(observed[train], known.queries.label[train])(observed[test])
        return Verdict(probability, None if self.alarm_from is None else probability >= self.alarm_from)
