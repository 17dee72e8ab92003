"""Fits the shipped coefficients, on simulated populations and, for the weight of scores, on OULAD.

`python -m lyo.evaluation.dropout.shipped OULAD_EVENTS OULAD_ENROLMENTS` writes
`models/formulas/hazard_shipped.py` to standard output.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.contenders import Served
from lyo.evaluation.dropout.fit import Labelled, fit
from lyo.evaluation.dropout.populations import moments
from lyo.evaluation.events.stream import read
from lyo.evaluation.run import observe
from lyo.evaluation.tasks.dropout import DropoutTask, terms_of
from lyo.evaluation.tasks.task import Options
from lyo.models.arrays.zones import Zones
from lyo.models.formulas.dropout_factors import WEIGHTS, factors
from lyo.models.formulas.hazard import RISING, TERMS, Hazard, terms
from lyo.models.state.history import history

POPULATIONS, SEED = 200, 1
COUNTS = 3.0  # weight of one learner of OULAD; a simulated one has 1
LEAST = {**{name: 4.0 * weight for name, weight in WEIGHTS.items()}, "decline": 2.5}
"""Least weights. A factor of the specification moves the probability by its weight, where the logistic curve
is steepest (a quarter): what the simulation says of it is only what was assumed. Of a steady decline it is
what makes sessions of 10, 8, 5, 3 and 1 a week a high risk wherever in their weeks they lie."""
Floats = NDArray[np.float64]


_HEAD = f'''"""Coefficients of the hazard that is served, written by `lyo.evaluation.dropout.shipped`.

Fitted on {POPULATIONS} simulated populations (`lyo.evaluation.dropout.populations`, seed {SEED}) and on who
withdraws within four weeks in OULAD (Kuzilek, Hlosta and Zdrahal 2017, Open University Learning Analytics
dataset, CC BY 4.0), which says what a low score means. The six factors weigh as much as in the
specification at least. Of each term: the reference learner's value, and the weight in each piece's logit.
"""

from typing import Final
'''


def main(arguments: list[str]) -> None:
    """Fit, and write the module."""
    events, enrolments = (Path(name) for name in arguments)
    sys.stdout.write(_module(shipped(events, enrolments)))


def shipped(events: Path, enrolments: Path) -> Hazard:
    """Fit on the populations and on OULAD's withdrawals."""
    terms_of_moments, following = [], []
    for moment in moments(POPULATIONS, SEED):
        terms_of_moments.append(_terms(moment.rows, moment.as_of))
        following.append(moment.following)
    least = np.array([LEAST.get(name, 0.0) for name in TERMS])
    return fit(
        np.concatenate(terms_of_moments),
        np.concatenate(following),
        least=np.where(RISING, least, -np.inf),
        beside=_withdrawals(events, enrolments),
    )


def _terms(rows: NDArray[np.void], as_of: NDArray[np.int64]) -> Floats:
    past = history(rows, as_of, Zones(["UTC"] * len(rows)))
    return terms(past, factors(past))


def _withdrawals(events: Path, enrolments: Path) -> Labelled:
    """Withdrawals within four weeks, of learners enrolled on each of four days of a course."""
    stream = read([events])
    task = DropoutTask.over(stream, Options(labels=enrolments))
    features, _ = observe(stream, task, {"terms": Served("the terms", terms_of)})
    return Labelled(features["terms"], task.queries.label, COUNTS)


def _module(model: Hazard) -> str:
    """The source of the module that holds the coefficients."""
    lines = [_HEAD, f"INTERCEPTS: Final = ({_listed(model.intercepts)})"]
    lines += ['"""Logits of the reference learner, by piece."""', "", "WEIGHTS: Final = {"]
    for place, name in enumerate(TERMS):
        row = np.r_[model.reference[place], model.weights[:, place]]
        lines.append(f'    "{name}": ({_listed(row)}),')
    return "\n".join([*lines, "}", ""])


def _listed(values: Floats) -> str:
    return ", ".join(str(round(value, 4) + 0.0) for value in values.tolist())


if __name__ == "__main__":
    main(sys.argv[1:])
