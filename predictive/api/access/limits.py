"""The rate limit of each caller, counted by the `limits` library."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from lyo.predictive.api.problems import Problem
from lyo.streams import log

SWEEP_EVERY: Final = 1_024
_log = log.logger("api")


class Windows(Storage):
    """Counters of fixed windows in this process, with a clock that tests can set.

    The library's own memory storage walks through all callers at every request.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[str, tuple[int, float]] = {}
        self._since_sweep = 0

    @property
    def base_exceptions(self) -> type[Exception]:
        """The errors that the library wraps; this storage raises none."""
        return KeyError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a counter, which expires `expiry` seconds after its first use; returns the sum."""
        now = self._clock()
        self._sweep(now)
        count, until = self._counts.get(key, (0, 0.0))
        if until <= now:
            count, until = 0, now + expiry
        self._counts[key] = (count + amount, until)
        return count + amount

    def get(self, key: str) -> int:
        """The counter's value; 0 if it has expired."""
        count, until = self._counts.get(key, (0, 0.0))
        return count if until > self._clock() else 0

    def get_expiry(self, key: str) -> float:
        """When the counter expires (s, of the clock)."""
        return self._counts.get(key, (0, self._clock()))[1]

    def check(self) -> bool:
        """Whether the storage works."""
        return True

    def reset(self) -> int:
        """Remove all counters; returns their number."""
        many = len(self._counts)
        self._counts.clear()
        return many

    def clear(self, key: str) -> None:
        """Remove one counter."""
        self._counts.pop(key, None)

    def _sweep(self, now: float) -> None:
        self._since_sweep += 1
        if self._since_sweep > max(SWEEP_EVERY, len(self._counts)):
            self._since_sweep = 0
            self._counts = {key: kept for key, kept in self._counts.items() if kept[1] > now}


class RateLimit:
    """A limit such as ``600/minute`` for each caller of this process."""

    def __init__(self, text: str, clock: Callable[[], float] = time.time) -> None:
        self._item: RateLimitItem = parse(text)
        self._clock = clock
        self._limiter = FixedWindowRateLimiter(Windows(clock))
        self._policy = f'"caller";q={self._item.amount};w={self._item.get_expiry()}'

    def count(self, caller: str) -> dict[str, str]:
        """Count a request; returns headers with what is left (draft-ietf-httpapi-ratelimit-headers).

        Raises:
            Problem: 429 with Retry-After, if nothing is left.
        """
        allowed = self._limiter.hit(self._item, caller)
        stats = self._limiter.get_window_stats(self._item, caller)
        wait = max(math.ceil(stats.reset_time - self._clock()), 1)
        headers = {"RateLimit-Policy": self._policy, "RateLimit": f'"caller";r={stats.remaining};t={wait}'}
        if allowed:
            return headers
        _log.warning("429: a caller has used up its limit of %s", self._item)
        raise Problem(
            429,
            f"More than {self._item.amount} requests in {self._item.get_expiry()} s.",
            headers=headers | {"Retry-After": str(wait)},
        )
