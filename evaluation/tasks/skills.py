"""Shared by the tasks about skills: the learner's row and the skill's state at a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.events.attempts import Attempts
from lyo.evaluation.events.queries import Queries
from lyo.models.state.partition import State
from lyo.models.state.skill import empty_skills

__all__ = ["Scene", "about", "at_end", "scene"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class Scene:
    """``m`` questions about a learner's skill: rows and states as of then, and what the events alone say.

    ``last`` is the newest score at the skill and ``recent`` the mean of up to ten, NaN where there is none.
    """

    rows: NDArray[np.void]  # (m,) LEARNER
    states: NDArray[np.void]  # (m,) MEMORY; that of an empty row for a skill never practised
    as_of: Ints  # ms
    last: Floats
    recent: Floats


def at_end(state: State, active: Bools, level: Ints, names: Sequence[str]) -> dict[str, Any]:
    """Alarms that are active at the end, over all skills ``(n,)``: in all, by level, and by learner.

    ``level`` is an index into ``names``.
    """
    owner = state.skills.column("owner").astype(np.int64)
    learners = np.bincount(owner[active], minlength=len(state.learners))
    return {
        "learners": int((state.learners.rows["user"] > 0).sum()),
        "skills": int((owner >= 0).sum()),
        "active": int(active.sum()),
        "learners_with": int((learners > 0).sum()),
        "most_of_a_learner": int(learners.max(initial=0)),
        "levels": {name: int((active & (level == index)).sum()) for index, name in enumerate(names)},
    }


def about(tries: Attempts, which: Ints, label: NDArray[np.bool_], settled: Ints) -> Queries:
    """Questions about attempts ``which (n,)``, each asked before it is folded."""
    order = np.argsort(tries.turn[which], kind="stable")
    which = which[order]
    return Queries(
        user=tries.user[which],
        at=tries.at[which],
        turn=tries.turn[which],
        label=label[order],
        settled=settled[order],
        row=tries.row[which],
        skill=which,
        stratum=np.zeros(len(which), np.int64),
        group=tries.user[which],
    )


def scene(
    state: State, tries: Attempts, queries: Queries, which: Ints, last: Floats, recent: Floats
) -> Scene:
    """The scene of the questions ``which (m,)``; ``last`` and ``recent`` are those of all attempts."""
    owner = state.owners(queries.user[which])
    rows = state.learners.rows[owner]
    about = queries.skill[which]
    numbers = np.array([state.intern(tries.names[skill]) for skill in tries.skill[about].tolist()], np.int64)
    slots = state.find_skills(owner, numbers)
    known = slots >= 0
    states = empty_skills(queries.user[which])["now"]
    states[known] = state.skills.rows["now"][slots[known]]
    as_of = np.maximum(queries.at[which], states["last_at"])
    return Scene(rows, states, as_of, last[about], recent[about])
