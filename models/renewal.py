"""Sending anew what another model has computed: after a formula or coefficients changed, piece by piece.

The changelog says which model the records of each kind come from. At a restore, what this version computes
is taken for what was sent last. For a kind that another model has computed that is wrong: all of its records
go out anew, and what the other model may have sent and this one does not is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from lyo.models.predictions.kinds import KINDS, model_of
from lyo.models.state.partition import Ints, Key, State

if TYPE_CHECKING:
    from lyo.models.predictions.emit import Predicting

__all__ = ["MODELS_KEY", "Renewal"]

MODELS_KEY = b"#models"
"""Key of the record that names the models, in the changelog of the learners' rows."""

_decode = msgspec.json.Decoder(dict[str, str]).decode


class Renewal:
    """Which kinds of one partition number are to be sent anew, and of which learners."""

    def __init__(self, state: State, predicting: Predicting) -> None:
        self._state = state
        self._predicting = predicting
        self._models = {kind.name: model_of(kind, state.catalogue.hazard) for kind in KINDS}
        self._known: dict[str, str] = {}
        self._stale: set[str] = set()
        self._left = np.zeros(0, np.int64)
        self._written = False

    # -- restore ---------------------------------------------------------------------------------------

    def load(self, newest: dict[bytes, bytes | None]) -> None:
        """Take our record out of those of the learners' changelog.

        Raises:
            msgspec.MsgspecError: not such a record.
        """
        if (value := newest.pop(MODELS_KEY, None)) is not None:
            self._known = _decode(value)

    def loaded(self) -> None:
        """End the restore: let kinds that another model has computed go out anew."""
        slots = [np.zeros(0, np.int64), *self._state.everyone()]
        stale = {name for name, model in self._models.items() if self._known.get(name) != model}
        if stale:
            self._left = np.concatenate(slots)
        if len(self._left):
            self._stale = stale
            self._predicting.forget_kinds(stale)
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
        return slots[self._state.learners.rows["user"][slots] > 0]  # without who was erased since

    def record(self) -> list[Key]:
        """What the changelog shall say from this transaction on, if it is something else than before.

        Until all are sent anew it names no model for their kinds: with this one's records some of the other's
        are left, so that neither version may take what it computes for what was sent.
        """
        if self._written:
            return []
        self._written = True
        said = {name: model for name, model in self._models.items() if name not in self._stale}
        return [(MODELS_KEY, msgspec.json.encode(said))]
