"""Coefficients that a process serves: shipped with this version, or fitted on data of one's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hazard"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hazard:
    """Coefficients: with t terms x, piece j's logit is ``intercepts[j] + sum(weights[j] * (x - reference))``.

    ``reference (t,)`` is the average learner right after a day of study, with none of the six factors,
    ``intercepts (3,)`` what is thought of that one and ``weights (3, t)`` what each term changes. ``model``
    names those that were fitted, as predictions say it; "": those that are shipped.
    """

    reference: Floats
    intercepts: Floats
    weights: Floats
    model: str = ""
