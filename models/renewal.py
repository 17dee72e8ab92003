"""Sends records again, piece by piece, after a formula or its coefficients have changed.

The changelog says which model computed the records of each kind. A restore takes what this version computes
for what was sent last. If another model computed them, that is wrong: then all records of the kind are sent
again, and records that only the other model may have sent are deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from lyo.models.predictions.kinds import KINDS, model_of
from lyo.models.state.partition import Ints, Key, State

if TYPE_CHECKING:
    from lyo.models.predictions.emit import Emitter

__all__ = ["MODELS_KEY", "Renewal"]

MODELS_KEY = b"#models"
"""Key of the record that names the models, in the changelog of the learners' rows."""

_decode = msgspec.json.Decoder(dict[str, str]).decode


class Renewal:
    """The kinds of one partition number that are to be sent again, and the learners left."""

    def __init__(self, state: State, emitter: Emitter) -> None:
        self._state = state
        self._emitter = emitter
        self._models = {kind.name: model_of(kind, state.catalogue.hazard) for kind in KINDS}
        self._known: dict[str, str] = {}
        self._stale: set[str] = set()
        self._left = np.zeros(0, np.int64)
        self._written = False

    # -- restore ---------------------------------------------------------------------------------------

    def load(self, newest: dict[bytes, bytes | None]) -> None:
        """Remove this class's record from those of the learners' changelog, and load it.

        Raises:
            msgspec.MsgspecError: not such a record.
        """
        if (value := newest.pop(MODELS_KEY, None)) is not None:
            self._known = _decode(value)

    def loaded(self) -> None:
        """End the restore: start to send kinds again that another model has computed."""
        slots = [np.zeros(0, np.int64), *self._state.everyone()]
        stale = {name for name, model in self._models.items() if self._known.get(name) != model}
        if stale:
            self._left = np.concatenate(slots)
        if len(self._left):
            self._stale = stale
            self._emitter.forget_kinds(stale)
        self._written = not stale

    # -- a piece ---------------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Whether records of another model may be left."""
        return len(self._left) > 0

    def take(self, most: int) -> Ints:
        """The next learners whose records are compared with what was sent, as slots, up to ``most``."""
        slots, self._left = self._left[:most], self._left[most:]
        if not self.due:
            self._stale, self._written = set(), False
        return slots[self._state.learners.rows["user"][slots] > 0]  # without learners erased since

    def record(self) -> list[Key]:
        """The changelog's record from this transaction on, if it has changed.

        Until all records of a kind are sent again, it names no model for the kind: the topic then holds
        records of both models, so neither version may take what it computes for what was sent.
        """
        if self._written:
            return []
        self._written = True
        models = {name: model for name, model in self._models.items() if name not in self._stale}
        return [(MODELS_KEY, msgspec.json.encode(models))]
