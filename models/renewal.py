"""Sends records again, piece by piece, after formulas, coefficients or time zone data have changed.

The changelog says which model computed the records of each kind. A restore takes what this version computes
for what was sent last. If another model computed them, that is wrong: then all records of the kind are sent
again, and records that only the other model may have sent are deleted. The changelog also names the release
of the time zone database, with a digest of each zone: of learners whose zone has changed since, what depends
on local time is sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from lyo.models.arrays import tzif
from lyo.models.predictions.kinds import KINDS, model_of
from lyo.models.state.partition import Ints, Key, State

if TYPE_CHECKING:
    from lyo.models.predictions.emit import Emitter

__all__ = ["MODELS_KEY", "TZDATA", "ZONES", "Renewal"]

MODELS_KEY = b"#models"
"""Key of the record that names the models, in the changelog of the learners' rows."""
TZDATA = "tzdata"
"""In that record beside the kinds: the release of the time zone database."""
ZONES = "zones"
"""And the digest of each zone: ``NAME=DIGEST``, parted by blanks."""

_decode = msgspec.json.Decoder(dict[str, str]).decode


class Renewal:
    """The kinds of one partition number that are to be sent again, and the learners left."""

    def __init__(self, state: State, emitter: Emitter) -> None:
        self._state = state
        self._emitter = emitter
        self._models = {kind.name: model_of(kind, state.catalogue.hazard) for kind in KINDS}
        self._known: dict[str, str] = {}
        self._stale: set[str] = set()
        self._stale_zones = False
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
        """End the restore: start to send again what another model or other time zone data have computed."""
        everyone = np.concatenate([np.zeros(0, np.int64), *self._state.everyone()])
        stale = {name for name, model in self._models.items() if self._known.get(name) != model}
        moved = self._moved(everyone)
        self._left = everyone if stale else moved
        if len(self._left):
            self._stale, self._stale_zones = stale, len(moved) > 0
            self._emitter.forget_kinds(stale)
            self._emitter.forget_local(moved)
        self._written = not stale and self._known.get(TZDATA) == tzif.VERSION

    def _moved(self, slots: Ints) -> Ints:
        """Those of these learners whose time zone has other data than when their records were sent."""
        if self._known.get(TZDATA) == tzif.VERSION or not len(slots):
            return slots[:0]
        before = dict(zone.split("=") for zone in self._known.get(ZONES, "").split())
        now = tzif.digests()
        names = self._state.zones(self._state.learners.rows[slots]).names
        return slots[[before.get(name) != now[name] for name in names]]

    # -- a piece ---------------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Whether records of another model may be left."""
        return len(self._left) > 0

    def take(self, most: int) -> Ints:
        """The next learners whose records are compared with what was sent, as slots, up to ``most``."""
        slots, self._left = self._left[:most], self._left[most:]
        if not self.due:
            self._stale, self._stale_zones, self._written = set(), False, False
        return slots[self._state.learners.rows["user"][slots] > 0]  # without who was erased since

    def record(self) -> list[Key]:
        """The changelog's record from this transaction on, if it has changed.

        Until all records of a kind are sent again, it names no model for the kind: the topic then holds
        records of both models, so neither version may take what it computes for what was sent.
        """
        if self._written:
            return []
        self._written = True
        said = {name: model for name, model in self._models.items() if name not in self._stale}
        if not self._stale_zones:
            said[TZDATA] = tzif.VERSION
            said[ZONES] = " ".join(f"{name}={digest}" for name, digest in tzif.digests().items())
        return [(MODELS_KEY, msgspec.json.encode(said))]
