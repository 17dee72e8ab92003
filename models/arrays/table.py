"""A growable columnar table: rows of one structured dtype, side columns, and an index from key to slot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.index import KeyIndex

__all__ = ["Table"]

_FIRST = 256


class Table:
    """Rows in arrays that double when full; unused space is never touched, so it takes no memory.

    Args:
        dtype: of a row.
        begin: sets first values in zeroed rows: called with an array, slots ``(n,)`` and users ``(n,)``.
        beside: side columns by name, as dtype and initial value; they live in memory only.
    """

    def __init__(
        self,
        dtype: np.dtype[np.void],
        begin: Callable[[NDArray[np.void], NDArray[np.int64], NDArray[np.int64]], None],
        beside: dict[str, tuple[str, Any]],
    ) -> None:
        self._begin = begin
        self._beside = dict(beside)
        self._rows = np.zeros(_FIRST, dtype)
        self._columns = {name: np.full(_FIRST, value, kind) for name, (kind, value) in beside.items()}
        self.index = KeyIndex()

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.index)

    @property
    def rows(self) -> NDArray[np.void]:
        """All rows ``(n,)``, by slot."""
        return self._rows[: len(self)]

    def column(self, name: str) -> NDArray[Any]:
        """A side column ``(n,)``, by slot."""
        return self._columns[name][: len(self)]

    def put_beside(self, name: str, kind: str, value: Any) -> None:
        """Add a side column, unless there is one of this name."""
        if name not in self._beside:
            self._beside[name] = kind, value
            self._columns[name] = np.full(len(self._rows), value, kind)

    def add(self, keys: NDArray[np.uint64], users: NDArray[np.int64]) -> NDArray[np.int64]:
        """Slots ``(n,)`` of keys, each distinct; rows of unknown ones are made for ``users (n,)``."""
        before = len(self)
        slots = self.index.add(keys).astype(np.int64)
        if len(self) > before:
            self._reserve(len(self))
            fresh = slots >= before
            self._begin(self._rows, slots[fresh], users[fresh])
        return slots

    def forget(self, keys: NDArray[np.uint64], slots: NDArray[np.int64]) -> None:
        """Remove keys, and set their rows at ``slots (n,)`` to zeros."""
        self.index.forget(keys)
        self._rows[slots] = np.zeros(1, self._rows.dtype)
        for name, (_, value) in self._beside.items():
            self._columns[name][slots] = value

    def _reserve(self, size: int) -> None:
        capacity = len(self._rows)
        if size <= capacity:
            return
        while capacity < size:
            capacity *= 2
        grown = np.zeros(capacity, self._rows.dtype)
        grown[: len(self._rows)] = self._rows
        self._rows = grown
        for name, (kind, value) in self._beside.items():
            column = np.full(capacity, value, kind)
            column[: len(self._columns[name])] = self._columns[name]
            self._columns[name] = column
