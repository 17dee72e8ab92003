"""Activity in a stream, and how much of the stream was known at a moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lyo.evaluation.events.stream import ACTIVITY, Events

__all__ = ["activity", "turns"]

Ints = NDArray[np.int64]


def activity(events: Events) -> tuple[Ints, Ints, Ints]:
    """Learner, begin and end (ms) of all completions, sessions and sentiments, by learner and begin."""
    user = np.concatenate([events.columns[kind].user for kind in ACTIVITY])
    at = np.concatenate([events.columns[kind].at for kind in ACTIVITY])
    end = np.concatenate([events.when[kind] for kind in ACTIVITY])
    order = np.lexsort((at, user))
    return user[order], at[order], end[order]


def turns(events: Events, at: Ints) -> Ints:
    """Place in the stream ``(n,)`` of the first event that became known at or after each moment."""
    when = np.sort(np.concatenate(list(events.when.values())))
    return np.searchsorted(when, at, side="left").astype(np.int64)
