"""When in the week a learner has been active: half hours by local weekday and hour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.zones import DAY, HOUR, Zones
from lyo.models.formulas.timing import weekday
from lyo.models.state.history import History, active_half_hours

__all__ = ["week"]

Ints = NDArray[np.int64]


def week(past: History, zones: Zones) -> Ints:
    """Half hours with activity ``(n, 7, 24)`` by local weekday (Monday = 0) and hour.

    The 90 days up to each learner's last active one count. Each half hour counts once, however much was done
    in it and however long ago it was.
    """
    entry, local = active_half_hours(past, zones)
    cell = (past.who[entry] * 7 + weekday(local // DAY)) * 24 + local // HOUR % 24
    return np.bincount(cell, minlength=len(past.today) * 7 * 24).reshape(len(past.today), 7, 24)
