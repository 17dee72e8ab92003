"""An index from 64-bit keys to consecutive slots, in two flat arrays.

A Python dict entry for every skill of every learner would cost more than the row it points to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["KeyIndex", "mix64"]

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_EMPTY = np.int32(-1)
_NOBODY = np.uint64(2**64 - 1)


def mix64(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter keys over 64 bits, shape kept (the finaliser of SplitMix64, Steele et al. 2014)."""
    mixed = keys ^ (keys >> np.uint64(30))
    mixed = mixed * _MIX[0]
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MIX[1]
    mixed ^= mixed >> np.uint64(31)
    return mixed


class KeyIndex:
    """Open addressing with linear probing; forgotten keys leave gaps. Slots count up from 0."""

    def __init__(self, capacity: int = 1024) -> None:
        self._keys = np.zeros(capacity, np.uint64)
        self._slots = np.full(capacity, _EMPTY, np.int32)
        self._size = 0

    def __len__(self) -> int:
        """How many keys have a slot."""
        return self._size

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Slots of ``keys`` ``(n,)``, -1 where a key is unknown."""
        result = np.full(len(keys), _EMPTY, np.int32)
        mask = np.uint64(len(self._keys) - 1)
        place = mix64(keys) & mask
        pending = np.arange(len(keys))
        while len(pending):
            at = place[pending]
            slots = self._slots[at]
            hit = (self._keys[at] == keys[pending]) & (slots >= 0)
            result[pending[hit]] = slots[hit]
            pending = pending[~hit & (slots >= 0)]
            place[pending] = (place[pending] + np.uint64(1)) & mask
        return result

    def add(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Slots of ``keys`` ``(n,)``; unknown ones get the next slots, in the order in which they come."""
        slots = self.find(keys)
        missing = np.flatnonzero(slots < 0)
        if len(missing):
            fresh, first, inverse = np.unique(keys[missing], return_index=True, return_inverse=True)
            order = np.argsort(first, kind="stable")
            rank = np.empty(len(order), np.int32)
            rank[order] = np.arange(len(order), dtype=np.int32)
            self._reserve(self._size + len(fresh))
            self._insert(fresh, rank + np.int32(self._size))
            slots[missing] = rank[inverse] + np.int32(self._size)
            self._size += len(fresh)
        return slots

    def forget(self, keys: NDArray[np.uint64]) -> None:
        """Remove keys ``(n,)``; their slots are not used again. The largest 64-bit key is reserved."""
        mask = len(self._keys) - 1
        for key, place in zip(keys.tolist(), mix64(keys).tolist(), strict=True):
            at = place & mask
            while self._slots[at] >= 0 and int(self._keys[at]) != key:
                at = (at + 1) & mask
            if self._slots[at] >= 0:
                # The place stays occupied, so that keys placed behind it are still found.
                self._keys[at] = _NOBODY

    def _reserve(self, size: int) -> None:
        capacity = len(self._keys)
        if size * 2 <= capacity:
            return
        while size * 2 > capacity:
            capacity *= 2
        held = self._slots >= 0
        keys, slots = self._keys[held], self._slots[held]
        self._keys = np.zeros(capacity, np.uint64)
        self._slots = np.full(capacity, _EMPTY, np.int32)
        self._insert(keys, slots)

    def _insert(self, keys: NDArray[np.uint64], slots: NDArray[np.int32]) -> None:
        """Place distinct new keys; of those that hash to one free place one takes it, the others probe on."""
        mask = np.uint64(len(self._keys) - 1)
        place = mix64(keys) & mask
        pending = np.arange(len(keys))
        while len(pending):
            at = place[pending]
            free = self._slots[at] < 0
            self._slots[at[free]] = slots[pending[free]]
            won = self._slots[at] == slots[pending]
            self._keys[at[won]] = keys[pending[won]]
            pending = pending[~won]
            place[pending] = (place[pending] + np.uint64(1)) & mask
