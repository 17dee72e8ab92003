"""Fitted coefficients of dropout for tests, and model files that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lyo.models.arrays.coefficients import Hazard
from lyo.models.formulas.hazard import SHIPPED
from lyo.streams.model_files import FittedOn, encode, read_hazard

FITTED_ON = FittedOn(
    outcome="made up",
    n=3,
    positives={"dropped": 1},
    learners=2,
    first="2026-01-01",
    last="2026-02-01",
    files=["00"],
)


def shifted(by: float) -> Hazard:
    """The shipped coefficients for a population of whom more stay away, by so much of each piece's logit."""
    return Hazard(SHIPPED.reference, SHIPPED.intercepts + by, np.maximum(SHIPPED.weights, 0.0))


def model_file(path: Path, by: float) -> Hazard:
    """Write `shifted` coefficients as a model file, and read it."""
    path.write_bytes(encode(shifted(by), FITTED_ON))
    return read_hazard(path)
