"""Erasure: the marker that keeps a learner forgotten, and how the fold and the restore obey it.

An erasure marker is all that is kept of an erased learner: who, when the erasure was requested, and the
consent, the instant from which events count again. A marker is the maximum of everything ever recorded, so
the order of records does not matter. Whether an event counts depends on its own time alone: an event that is
published again, or read again from the log's beginning, is dropped again. Design: "Erasure".
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from lyo.models.events.decode import Columns, Kind, Rejected, decode, milliseconds, partition
from lyo.models.events.types import Erasure
from lyo.models.predictions.records import text

if TYPE_CHECKING:
    from collections import Counter

    from lyo.models.interventions.policy import InterventionPolicy
    from lyo.models.state.partition import State

__all__ = [
    "ERASED_KEY",
    "OPEN_NEVER",
    "AppliedErasure",
    "Erasing",
    "ErasureMarker",
    "ErasureMarkers",
    "applied_key",
    "marker_of",
]

ERASED_KEY: Final = b"#erased|"
"""Prefix of the key of an applied erasure in the changelog of the learners' rows; the user id follows."""
OPEN_NEVER: Final = 0

Ints = NDArray[np.int64]


class ErasureMarker(NamedTuple):
    """What is kept of an erased learner; times in ms.

    Attributes:
        erased_at: when the newest erasure was asked for; 0: only a consent is known.
        epoch: the newest consent: what happened from then on counts; 0: there is none.
        organization: of the learner, as the newest record names it; 0: none.
    """

    erased_at: int
    consented_at: int = OPEN_NEVER
    organization: int = 0

    @property
    def is_open(self) -> bool:
        """Whether events count again: a consent older than the erasure is no consent."""
        return self.consented_at > self.erased_at

    @property
    def counts_from(self) -> int | None:
        """The time from which events count; None: none does."""
        return self.consented_at if self.is_open else None

    def merged(self, other: ErasureMarker) -> ErasureMarker:
        """The later of both, part by part: the same in any order, once or often."""
        newer = (
            other if (other.erased_at, other.consented_at) >= (self.erased_at, self.consented_at) else self
        )
        return ErasureMarker(
            max(self.erased_at, other.erased_at),
            max(self.consented_at, other.consented_at),
            newer.organization or self.organization or other.organization,
        )

    def lets(self, at: Ints) -> NDArray[np.bool_]:
        """Which events at these times ``(n,)`` count."""
        return at >= self.consented_at if self.is_open else np.zeros(len(at), bool)


class AppliedErasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure marker that was applied: the topics hold nothing of the learner from before it."""

    user_id: int
    erased_at: int
    consented_at: int = msgspec.field(name="epoch")
    organization_id: int | None = None
    done_at: int = 0
    """Of the clock, ms."""
    removed: dict[str, int] = {}
    """Keys that were deleted, by topic."""

    @property
    def marker(self) -> ErasureMarker:
        """The erasure marker that was carried out."""
        return ErasureMarker(self.erased_at, self.consented_at, self.organization_id or 0)


encode_applied = msgspec.json.Encoder().encode
decode_applied = msgspec.json.Decoder(AppliedErasure).decode


def applied_key(user: int) -> bytes:
    """Key of a learner's applied erasure in the changelog."""
    return ERASED_KEY + b"%d" % user


def marker_of(event: Erasure) -> ErasureMarker:
    """The erasure marker that an erasure or a consent asks for."""
    organization = event.organization_id or 0
    asked = milliseconds(event.requested_at)
    if event.consented_at is None:
        return ErasureMarker(asked, OPEN_NEVER, organization)
    consented_at = milliseconds(event.consented_at)
    # A consent stands for the erasure before it, too: compaction may have removed that one's record.
    return ErasureMarker(min(asked, consented_at - 1), consented_at, organization)


def record_of(user: int, marker: ErasureMarker) -> tuple[bytes, bytes]:
    """Key and value of the erasures' record that says the same as an erasure marker."""
    name = blake2b(b"%d %d %d" % (user, *marker[:2]), digest_size=16).hexdigest()
    said: dict[str, Any] = {"event_id": name, "user_id": user}
    if marker.organization:
        said["organization_id"] = marker.organization
    said["requested_at"] = text(max(marker.erased_at, 0))
    if marker.is_open:
        said["consented_at"] = text(marker.consented_at)
    return b"%d" % user, msgspec.json.encode(said)


class ErasureMarkers:
    """Every erasure marker, by user; read whole from the erasures topic before anything is folded."""

    def __init__(self) -> None:
        self.revision = 0
        self._of: dict[int, ErasureMarker] = {}
        self._said: dict[int, ErasureMarker | None] = {}
        self._users: Ints | None = None

    def __len__(self) -> int:
        """How many learners have one."""
        return len(self._of)

    def get(self, user: int) -> ErasureMarker | None:
        """A learner's erasure marker."""
        return self._of.get(user)

    def items(self) -> Iterable[tuple[int, ErasureMarker]]:
        """Users and their erasure markers."""
        return self._of.items()

    def put(self, key: bytes | None, value: bytes | None, timestamp: int = -1) -> Rejected | None:
        """Take one record of the erasures topic; gives why it was refused, if it was.

        A tombstone lifts no erasure marker: `overtaken` says what the topic should hold instead.
        """
        if value is None:
            if key is not None and key.isdigit() and int(key) in self._of:
                self._said[int(key)] = None
                self.revision += 1
            return Rejected(0, "the record has no value: an erasure is not taken back by deleting it", None)
        columns, rejected = decode(Kind.ERASURE, [key], [value], [timestamp])
        if rejected:
            return rejected[0]
        self.add(int(columns.user[0]), marker_of(columns.rows[0]), said=True)
        return None

    def add(self, user: int, marker: ErasureMarker, *, said: bool = False) -> None:
        """Take an erasure marker, from the topic if ``said``, else from an applied erasure."""
        before = self._of.get(user)
        now = marker if before is None else before.merged(marker)
        self._of[user] = now
        if said:
            self._said[user] = marker
        if now != before or said:
            self.revision += 1
        if before is None:
            self._users = None

    def overtaken(self, users: Iterable[int]) -> list[int]:
        """Those whose newest record on the topic no longer says what holds: it is to be written anew."""
        return [
            user for user in users if user in self._of and not _same(self._said.get(user), self._of[user])
        ]

    def hit(self, users: Ints) -> Ints:
        """Places ``(m,)`` of users ``(n,)`` that have an erasure marker."""
        if not self._of:
            return np.zeros(0, np.int64)
        known = self._users
        if known is None:
            known = self._users = np.sort(np.fromiter(self._of, np.int64, len(self._of)))
        found = np.minimum(np.searchsorted(known, users), len(known) - 1)
        return np.flatnonzero(known[found] == users)


def _same(said: ErasureMarker | None, marker: ErasureMarker) -> bool:
    return said is not None and said.counts_from == marker.counts_from


class Erasing:
    """The erasure markers as one engine sees them, and which of them its state has carried out."""

    def __init__(self, state: State, deciding: InterventionPolicy | None, markers: ErasureMarkers) -> None:
        self._state, self._deciding = state, deciding
        self.markers = markers
        self._done: dict[int, ErasureMarker] = {}

    # -- the fold --------------------------------------------------------------------------------------

    def admit(self, batches: list[Columns], counts: Counter[str]) -> list[Columns]:
        """The events that no erasure marker holds back."""
        if not self.markers:
            return batches
        return [self._admitted(batch, counts) for batch in batches]

    def _admitted(self, batch: Columns, counts: Counter[str]) -> Columns:
        hit = self.markers.hit(batch.user)
        if not len(hit):
            return batch
        keep = np.ones(len(batch.user), bool)
        for user in np.unique(batch.user[hit]).tolist():
            marker = self.markers.get(user)
            mine = hit[batch.user[hit] == user]
            keep[mine] = marker is None or marker.lets(batch.at[mine])
        counts["erased"] += int((~keep).sum())
        return batch if keep.all() else batch.take(np.flatnonzero(keep))

    # -- the restore -----------------------------------------------------------------------------------

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take an applied erasure from the changelog; its marker holds even where the topic has lost it.

        Raises:
            msgspec.MsgspecError: not an applied erasure.
        """
        user = int(key.removeprefix(ERASED_KEY))
        if value is None:
            self._done.pop(user, None)
            return
        marker = decode_applied(value).marker
        self._done[user] = marker
        self.markers.add(user, marker)

    # -- erasing ---------------------------------------------------------------------------------------

    def pending(self, number: int, count: int) -> dict[int, ErasureMarker]:
        """Markers of the learners of partition ``number`` of ``count`` that are not carried out yet."""
        return {
            user: marker
            for user, marker in self.markers.items()
            if self._done.get(user, _NONE)[:2] != marker[:2] and partition(user, count) == number
        }

    def needs_look(self, user: int) -> bool:
        """Whether something of the learner may be on the topics: not if only a consent has come since."""
        done, marker = self._done.get(user), self.markers.get(user)
        if done is None or marker is None:
            return True
        return done.is_open or done.erased_at != marker.erased_at

    def carry_out(self, pending: dict[int, ErasureMarker]) -> list[int]:
        """Forget learners in memory; gives those of whom the topics may hold something, to be deleted."""
        erased = [user for user in pending if self.needs_look(user)]
        for user in erased:
            self.forget(user)
        self._done.update(pending)
        return erased

    def forget(self, user: int) -> None:
        """Take everything of a learner out of the state; the slots stay, as nobody's."""
        state = self._state
        key = np.array([user], np.uint64)
        slot = state.learners.index.find(key).astype(np.int64)
        if slot[0] < 0:
            return
        state.forget_skills(state.skills_of(slot))
        state.learners.forget(key, slot)
        state.requests.forget(int(slot[0]))
        if self._deciding is not None:
            self._deciding.forget(int(slot[0]))


_NONE: Final = ErasureMarker(-1, -1)
