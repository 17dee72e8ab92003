"""What test_conformance.py and test_conformance_records.py share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas import dropout, timing
from lyo.models.predictions.compute import quiet_hours_of
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.history import History, history
from lyo.models.state.skill import MEMORY
from tests.support.learners.building import MINUTE, Stream, run
from tests.support.learners.sampled import ZONE_NAMES, lives

few = settings(max_examples=12, deadline=None)


# The inputs of the suite: few enough lives that predictors share them.
SEEDS = st.integers(0, 50)


PAUSES = (MINUTE, 20 * MINUTE, 5 * HOUR, DAY, 2 * DAY, 9 * DAY)


Inputs = dict[str, Any]


@cache
def lived(seed: int, users: int = 4) -> Stream:
    rng = np.random.default_rng(seed)
    return run(lives(seed, int(rng.integers(1, 160)), users=users, pauses=PAUSES))


def learner_inputs(seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    rows = lived(seed).engine.state.learners.rows.copy()
    silence = rng.integers(0, 40 * DAY, len(rows)) * rng.integers(0, 2, len(rows))
    names = [rng.choice([name or "UTC" for name in ZONE_NAMES]) for _ in rows]
    return {"rows": rows, "as_of": rows["newest"] + silence, "names": [str(name) for name in names]}


def call_timing(inputs: Inputs) -> timing.TimingProfile:
    zones = Zones(inputs["names"])
    rows = inputs["rows"]
    past = history(rows, inputs["as_of"], zones)
    return timing.predict(past, rows, inputs["as_of"], zones, quiet_hours_of(rows, Catalogue()))


def skill_inputs(seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    states = lived(seed, 2).engine.state.skills.rows["now"].copy()
    if not len(states):
        return skill_inputs(seed + 1)
    return {
        "states": states,
        "as_of": states["last_at"] + rng.integers(0, rng.choice([1, 10, 200]) * DAY, len(states)),
    }


def question_inputs(seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    states = np.r_[skill_inputs(seed)["states"], np.zeros(2, MEMORY)]
    many = int(rng.integers(1, 9))
    flat: Inputs = {}
    for name in ("prereq", "similar"):
        of = np.sort(rng.integers(0, many, int(rng.integers(0, 12))))
        chosen = states[rng.integers(0, len(states), len(of))]
        flat |= {f"{name}_of": of, name: chosen, f"{name}_seen": chosen["attempts"] > 0}
    known = rng.random(many) < 0.6
    felt = rng.integers(0, 5, many).astype(float)
    return {
        "as_of": np.full(many, states["last_at"].max() + int(rng.integers(0, 90 * DAY))),
        "own": rng.random(many),
        **flat,
        "difficulty": np.where(known, rng.random(many), np.nan),
        "load": rng.random(many),
        "sentiment": np.where(felt > 0, rng.uniform(-1, 1, many), 0.0),
        "sentiments": felt,
    }


Model = Callable[[History], dropout.DropoutRisk]


def silence(rows: NDArray[np.void], days: int, name: str, model: Model) -> dropout.DropoutRisk:
    """Risk of one learner, day by day, while nothing happens."""
    as_of = rows["newest"] + np.arange(days) * DAY
    return model(history(np.repeat(rows, days), as_of, Zones([name] * days)))
