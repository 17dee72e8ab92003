"""The figures of an evaluation as one JSON object; `text` makes a page of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.alarms import alarms
from lyo.evaluation.contenders import HOURS, Verdict
from lyo.evaluation.events.queries import Queries
from lyo.evaluation.run import Ran
from lyo.evaluation.scoring import auc_within, reliability, scores
from lyo.evaluation.tasks.task import Task
from lyo.evaluation.tasks.timing import TimingTask

__all__ = ["report"]

DIGITS = 6

Report = dict[str, Any]
Bools = NDArray[np.bool_]


def report(task: Task, ran: Ran) -> Report:
    """Figures of every contender; those of the first are at the top level, too.

    Keys: n, positives, auc, auc_within (the mean of each learner's own), log_loss, accuracy, brier, ece,
    reliability; alarms, levels and slices where there are any; hours of timing; at_end of plateaus and
    regressions.
    """
    verdicts = ran.verdicts
    rule = verdicts.get("rule")
    models: dict[str, Report] = {}
    for name, verdict in verdicts.items():
        if isinstance(task, TimingTask):
            figures = _hours(task, verdict)
        else:
            figures = _binary(task, verdict, None if rule is None else rule.alarm)
        models[name] = {"what": task.contender(name).what, **figures}
    first = next(iter(models))
    top = {key: value for key, value in models[first].items() if key != "what"}
    rounded: Report = _rounded(
        {
            "task": task.name,
            "positive": task.asks,
            "model": first,
            **top,
            "left_out": task.queries.left_out,
            "at_end": ran.closing,
            "models": models,
        }
    )
    return rounded


def _figures(probability: NDArray[np.float64], label: Bools, user: NDArray[np.int64]) -> Report:
    values = asdict(scores(probability, label))
    within = {"auc_within": auc_within(user, probability, label)}
    return {
        **{key: values[key] for key in ("n", "positives", "auc")},
        **within,
        **{key: values[key] for key in ("log_loss", "accuracy", "brier", "ece")},
    }


def _binary(task: Task, verdict: Verdict, rule: Bools | None) -> Report:
    queries, probability = task.queries, verdict.probability
    figures = _figures(probability, queries.label, queries.user)
    figures["reliability"] = [asdict(bin_) for bin_ in reliability(probability, queries.label)]
    if verdict.alarm is not None:
        figures["alarms"] = asdict(alarms(verdict.alarm, queries.label, queries.user, queries.at, rule))
    if verdict.level is not None and task.levels:
        figures["levels"] = _levels(task.levels, verdict.level, queries)
    figures["slices"] = {
        name: _slice(verdict, queries, mask) for name, mask in queries.slices.items() if mask.any()
    }
    return figures


def _slice(verdict: Verdict, queries: Queries, mask: Bools) -> Report:
    return _figures(verdict.probability[mask], queries.label[mask], queries.user[mask])


def _levels(names: tuple[str, ...], level: NDArray[np.int64], queries: Queries) -> Report:
    """For each level, and for none: the number of questions and the rate of the label; by stratum, too."""
    rates: Report = {}
    for index, name in [(-1, "none"), *enumerate(names)]:
        mine = level == index
        if index < 0 and not mine.any():
            continue
        rate: Report = {"n": int(mine.sum()), "rate": _mean(queries.label[mine])}
        days = np.unique(queries.stratum).tolist()
        if len(days) > 1:
            rate["days"] = {
                str(day): {"n": int(here.sum()), "rate": _mean(queries.label[here])}
                for day in days
                for here in [mine & (queries.stratum == day)]
            }
        rates[name] = rate
    return rates


def _hours(task: TimingTask, verdict: Verdict) -> Report:
    """Figures of the timing task, in which each hour of each session is one question, and of sessions."""
    many = len(task.hour)
    label = np.zeros((many, HOURS), bool)
    label[np.arange(many), task.hour] = True
    user = np.repeat(task.queries.user, HOURS)
    figures = _figures(verdict.probability.ravel(), label.ravel(), user)
    figures["reliability"] = [
        asdict(bin_) for bin_ in reliability(verdict.probability.ravel(), label.ravel())
    ]
    figures["hours"] = _sessions(verdict, label)
    figures["slices"] = {
        name: _figures(
            verdict.probability[mask].ravel(), label[mask].ravel(), np.repeat(task.queries.user[mask], HOURS)
        )
        | {"hours": _sessions(_only(verdict, mask), label[mask])}
        for name, mask in task.queries.slices.items()
        if mask.any()
    }
    return figures


def _sessions(verdict: Verdict, label: Bools) -> Report:
    """Mass on the sessions' hours, surprise in nats, shares in the likeliest hour and in peaks."""
    mass = verdict.probability[label]
    top = verdict.probability.argmax(axis=1) == label.argmax(axis=1)
    figures: Report = {
        "sessions": len(label),
        "mass": _mean(mass),
        "surprise": _mean(-np.log(np.maximum(mass, 1e-3))),
        "likeliest": _mean(top),
    }
    if verdict.alarm is not None:
        figures |= {"in_peaks": _mean(verdict.alarm[label]), "peaks_cover": _mean(verdict.alarm)}
    if verdict.good is not None:
        figures |= {"in_good": _mean(verdict.good[:, 0]), "good_covers": _mean(verdict.good[:, 1])}
    return figures


def _only(verdict: Verdict, mask: Bools) -> Verdict:
    alarm = None if verdict.alarm is None else verdict.alarm[mask]
    good = None if verdict.good is None else verdict.good[mask]
    return Verdict(verdict.probability[mask], alarm, good=good)


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if values.size else None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
