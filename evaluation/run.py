"""One evaluation: a task over a stream, several contenders side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.contenders import Contender, Known, Verdict
from lyo.evaluation.events.stream import Events
from lyo.evaluation.events.walk import walk
from lyo.evaluation.splits import folds
from lyo.evaluation.tasks.task import Task
from lyo.models.engine import Engine

__all__ = ["Ran", "observe", "run"]

Floats = NDArray[np.float64]


class Ran(NamedTuple):
    """A verdict by each contender, and the task's closing figures."""

    verdicts: dict[str, Verdict]
    closing: dict[str, Any]


def run(
    events: Events,
    task: Task,
    names: tuple[str, ...],
    *,
    split: bool,
    on_done: Callable[[int, int], None] | None = None,
) -> Ran:
    """Run the named contenders over all of a task's questions.

    Args:
        events: the stream.
        task: over the same stream.
        names: of the task's contenders.
        split: whether what learns from labels learns from other folds of the questions' groups, instead of
            from what was settled before.
        on_done: told how many questions were answered and how many there are.

    Raises:
        ValueError: a contender cannot be fitted on these questions.
    """
    chosen = {name: task.contender(name) for name in names}
    observed, closing = observe(events, task, chosen, on_done)
    known = Known(task.queries, folds(task.queries.group) if split else None)
    return Ran({name: chosen[name].conclude(observed[name], known) for name in names}, closing)


def observe(
    events: Events,
    task: Task,
    contenders: Mapping[str, Contender],
    on_done: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Floats], dict[str, Any]]:
    """Each contender's features of each question ``(n, f)``, and the task's closing figures."""
    many = len(task.queries)
    observed: dict[str, Floats] = {}
    engine = Engine(events.catalogue, with_interventions=False)
    if not task.closes and all(contender.observe is None for contender in contenders.values()):
        return {name: np.zeros((many, 1)) for name in contenders}, {}
    for which in walk(engine, events, task.queries, on_done, to_the_end=task.closes):
        scene: Any = task.scene(engine.state, which)
        for name, contender in contenders.items():
            if contender.observe is None:
                continue
            features = np.asarray(contender.observe(scene), np.float64)
            if name not in observed:
                observed[name] = np.full((many, features.shape[1]), np.nan)
            observed[name][which] = features
    nothing = np.zeros((many, 1))
    closing = task.closing(engine.state, events.last) if task.closes else {}
    return {name: observed.get(name, nothing) for name in contenders}, closing
