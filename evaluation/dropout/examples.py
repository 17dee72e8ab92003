"""The examples of a fit: learners' terms at moments of event files, and their outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.contenders import Served
from lyo.evaluation.dropout.fit import fit, fit_labels
from lyo.evaluation.events.queries import Queries
from lyo.evaluation.events.stream import Events
from lyo.evaluation.run import observe
from lyo.evaluation.scoring import reliability, scores
from lyo.evaluation.splits import folds
from lyo.evaluation.tasks.dropout import DropoutTask, terms_of
from lyo.models.formulas.hazard import HORIZONS, SHIPPED, Hazard, stays

__all__ = ["LEAST", "Examples", "FitError", "Outcome", "gather", "held_out"]

LEAST = 10
"""Fewest examples of either outcome that a piece can be fitted on."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class FitError(ValueError):
    """There are too few examples to fit."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An outcome of examples: its name, labels ``(n,)``, and the days of silence that it stands for."""

    name: str
    label: Bools
    days: int


@dataclass(frozen=True, slots=True)
class Examples:
    """Learners at moments, in the order of time: terms ``(n, t)``, and days until something came ``(n,)``.

    ``following`` is None where labels say what came: those of ``queries``, taken for ``horizon`` days.
    """

    queries: Queries
    terms: Floats
    following: Ints | None
    horizon: int

    def take(self, which: Bools) -> Examples:
        """The chosen examples."""
        following = None if self.following is None else self.following[which]
        queries = self.queries.take(np.flatnonzero(which))
        return Examples(queries, self.terms[which], following, self.horizon)

    def outcomes(self) -> list[Outcome]:
        """Silence for each of `HORIZONS`; of labels only their own outcome."""
        if self.following is None:
            return [Outcome("dropped", self.queries.label, self.horizon)]
        return [Outcome(f"silent for {days} days", self.following >= days, days) for days in HORIZONS]

    def fit(self) -> Hazard:
        """Fit the hazard to these examples.

        Raises:
            FitError: too few of one outcome.
        """
        begin = 0
        for outcome in self.outcomes():
            among = outcome.label if self.following is None else outcome.label[self.following >= begin]
            begin = outcome.days
            fewest = min(int(among.sum()), int((~among).sum()))
            if fewest < LEAST:
                raise FitError(
                    f"{outcome.name}: {int(among.sum())} of {len(among)} moments, "
                    f"and {LEAST} are needed both of these and of the others"
                )
        if self.following is None:
            return fit_labels(self.terms, self.queries.label)
        return fit(self.terms, self.following)


def gather(events: Events, task: DropoutTask, since: int | None, until: int | None) -> Examples:
    """Fold a stream in the order of time, and collect learners' terms at the moments of a task's questions.

    Args:
        events: the stream.
        task: over the same stream.
        since: first moment (ms) that counts.
        until: moments from here on (ms) do not count.

    Raises:
        FitError: there is no such moment.
    """
    at = task.queries.at
    kept = np.ones(len(at), bool)
    kept &= True if since is None else at >= since
    kept &= True if until is None else at < until
    if not kept.any():
        raise FitError("there is no moment to fit on: of weeks, 28 days after them must be in the files")
    terms = observe(events, task, {"terms": Served("the terms", terms_of)})[0]["terms"]
    return Examples(task.queries, terms, task.following, task.horizon).take(kept)


def held_out(examples: Examples) -> Iterator[dict[str, object]]:
    """Held-out figures for each outcome, and of labels by day: fitted on the other folds, shipped, constant.

    Raises:
        FitError: too little is left without one of the folds, or all moments are of one group.
    """
    fold = folds(examples.queries.group)
    if fold.max(initial=0) < 1:
        raise FitError("held-out figures need two learners or groups at least: choose another --split")
    fitted = [examples.take(fold != number).fit() for number in range(int(fold.max()) + 1)]
    for outcome in examples.outcomes():
        ours, constant = np.empty(len(fold)), np.empty(len(fold))
        for number, model in enumerate(fitted):
            mine = fold == number
            ours[mine] = stays(model, examples.terms[mine], outcome.days)
            constant[mine] = outcome.label[~mine].mean()
        shipped = stays(SHIPPED, examples.terms, outcome.days)
        probabilities = {"fitted": ours, "shipped": shipped, "constant": constant}
        yield _figures(outcome.name, outcome.label, probabilities, np.ones(len(fold), bool))
        if examples.following is None:
            for day in np.unique(examples.queries.stratum).tolist():
                yield _figures(
                    f"{outcome.name}, day {day}",
                    outcome.label,
                    probabilities,
                    examples.queries.stratum == day,
                )


def _figures(name: str, label: Bools, probabilities: dict[str, Floats], which: Bools) -> dict[str, object]:
    rate = float(label[which].mean())
    models = {}
    for model, probability in probabilities.items():
        figures = scores(probability[which], label[which])
        models[model] = {
            "auc": figures.auc,
            "log_loss": figures.log_loss,
            "ece": figures.ece,
            "mean": float(probability[which].mean()),
            "reliability": [
                {"n": bin_.n, "predicted": bin_.predicted, "true": bin_.true}
                for bin_ in reliability(probability[which], label[which])
            ],
        }
    return {
        "outcome": name,
        "n": int(which.sum()),
        "positives": int(label[which].sum()),
        "rate": rate,
        "models": models,
    }
