"""One evaluation: a task over a stream, several contenders side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.contenders import Contender, Known, Verdict
from lyo.evaluation.events.stream import Events
from lyo.evaluation.events.walk import walk
from lyo.evaluation.splits import folds
from lyo.evaluation.tasks.task import Task
from lyo.models.engine import Engine

__all__ = ["observe", "run"]

Floats = NDArray[np.float64]


def run(
    events: Events,
    task: Task,
    names: tuple[str, ...],
    *,
    split: bool,
    on_done: Callable[[int, int], None] | None = None,
) -> dict[str, Verdict]:
    """Let the named contenders answer all of a task's questions.

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
    chosen = {name: task.contenders[name] for name in names}
    observed = observe(events, task, chosen, on_done)
    known = Known(task.queries, folds(task.queries.group) if split else None)
    return {name: chosen[name].conclude(observed[name], known) for name in names}


def observe(
    events: Events,
    task: Task,
    contenders: Mapping[str, Contender],
    on_done: Callable[[int, int], None] | None = None,
) -> dict[str, Floats]:
    """What each contender saw of each question ``(n, f)``."""
    many = len(task.queries)
    observed: dict[str, Floats] = {}
    engine = Engine(events.catalogue, deciding=False)
    for which in walk(engine, events, task.queries, on_done):
        scene: Any = task.scene(engine.state, which)
        for name, contender in contenders.items():
            if contender.observe is None:
                continue
            seen = np.asarray(contender.observe(scene), np.float64)
            if name not in observed:
                observed[name] = np.full((many, seen.shape[1]), np.nan)
            observed[name][which] = seen
    nothing = np.zeros((many, 1))
    return {name: observed.get(name, nothing) for name in contenders}
