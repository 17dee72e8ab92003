"""Erasure: the marker that keeps a learner erased, and how the fold and the restore apply it.

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
        erased_at: when the newest erasure was requested; 0: only a consent is known.
        consented_at: the newest consent, from which events count again; 0: none.
        organization: of the learner, as the newest record names it; 0: none.
    """

    erased_at: int
    consented_at: int = OPEN_NEVER
    organization: int = 0

    @property
    def is_open(self) -> bool:
        """Whether events count again: the consent is later than the erasure."""
        return self.consented_at > self.erased_at

    @property
    def counts_from(self) -> int | None:
        """The time (ms) from which events count; None: no event counts."""
        return self.consented_at if self.is_open else None

    def merged(self, other: ErasureMarker) -> ErasureMarker:
        """The maximum of both, field by field, so order and repetition do not matter."""
        newer = (
            other if (other.erased_at, other.consented_at) >= (self.erased_at, self.consented_at) else self
        )
        return ErasureMarker(
            max(self.erased_at, other.erased_at),
            max(self.consented_at, other.consented_at),
            newer.organization or self.organization or other.organization,
        )

    def lets(self, at: Ints) -> NDArray[np.bool_]:
        """Which events at these times ``(n,)`` (ms) count."""
        return at >= self.consented_at if self.is_open else np.zeros(len(at), bool)


class AppliedErasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure marker that was applied: the topics hold nothing of the learner from before it."""

    user_id: int
    erased_at: int
    consented_at: int = msgspec.field(name="epoch")
    organization_id: int | None = None
    done_at: int = 0
    """When it was applied, ms of the clock."""
    removed: dict[str, int] = {}
    """Keys that were deleted, by topic."""

    @property
    def marker(self) -> ErasureMarker:
        """The erasure marker that was applied."""
        return ErasureMarker(self.erased_at, self.consented_at, self.organization_id or 0)


encode_applied = msgspec.json.Encoder().encode
decode_applied = msgspec.json.Decoder(AppliedErasure).decode


def applied_key(user: int) -> bytes:
    """Key of a learner's applied erasure in the changelog."""
    return ERASED_KEY + b"%d" % user


def marker_of(event: Erasure) -> ErasureMarker:
    """The erasure marker of an erasure or a consent event."""
    organization = event.organization_id or 0
    requested_at = milliseconds(event.requested_at)
    if event.consented_at is None:
        return ErasureMarker(requested_at, OPEN_NEVER, organization)
    consented_at = milliseconds(event.consented_at)
    # A consent implies an erasure before it, whose record compaction may have removed.
    return ErasureMarker(min(requested_at, consented_at - 1), consented_at, organization)


def record_of(user: int, marker: ErasureMarker) -> tuple[bytes, bytes]:
    """Key and value of the record on the erasures topic that is equal to an erasure marker."""
    name = blake2b(b"%d %d %d" % (user, *marker[:2]), digest_size=16).hexdigest()
    fields: dict[str, Any] = {"event_id": name, "user_id": user}
    if marker.organization:
        fields["organization_id"] = marker.organization
    fields["requested_at"] = text(max(marker.erased_at, 0))
    if marker.is_open:
        fields["consented_at"] = text(marker.consented_at)
    return b"%d" % user, msgspec.json.encode(fields)


class ErasureMarkers:
    """Every erasure marker, by user; read whole from the erasures topic before anything is folded."""

    def __init__(self) -> None:
        self.revision = 0
        self._of: dict[int, ErasureMarker] = {}
        self._said: dict[int, ErasureMarker | None] = {}
        self._users: Ints | None = None

    def __len__(self) -> int:
        """The number of learners with a marker."""
        return len(self._of)

    def get(self, user: int) -> ErasureMarker | None:
        """A learner's erasure marker."""
        return self._of.get(user)

    def items(self) -> Iterable[tuple[int, ErasureMarker]]:
        """Users and their erasure markers."""
        return self._of.items()

    def put(self, key: bytes | None, value: bytes | None, timestamp: int = -1) -> Rejected | None:
        """Add a record of the erasures topic; returns why it was refused, if it was.

        A tombstone lifts no erasure marker: `overtaken` returns users whose record must be written again.
        """
        if value is None:
            if key is not None and key.isdigit() and int(key) in self._of:
                self._said[int(key)] = None
                self.revision += 1
            return Rejected(0, "the record has no value: an erasure is not taken back by deleting it", None)
        columns, rejected = decode(Kind.ERASURE, [key], [value], [timestamp])
        if rejected:
            return rejected[0]
        self.add(int(columns.user[0]), marker_of(columns.rows[0]), on_topic=True)
        return None

    def add(self, user: int, marker: ErasureMarker, *, on_topic: bool = False) -> None:
        """Add an erasure marker, from the topic if ``on_topic``, else from an applied erasure."""
        before = self._of.get(user)
        now = marker if before is None else before.merged(marker)
        self._of[user] = now
        if on_topic:
            self._said[user] = marker
        if now != before or on_topic:
            self.revision += 1
        if before is None:
            self._users = None

    def overtaken(self, users: Iterable[int]) -> list[int]:
        """Users whose newest record on the topic differs from their marker and must be written again."""
        return [
            user for user in users if user in self._of and not _same(self._said.get(user), self._of[user])
        ]

    def hit(self, users: Ints) -> Ints:
        """Indexes ``(m,)`` into users ``(n,)`` of those with an erasure marker."""
        if not self._of:
            return np.zeros(0, np.int64)
        known = self._users
        if known is None:
            known = self._users = np.sort(np.fromiter(self._of, np.int64, len(self._of)))
        places = np.minimum(np.searchsorted(known, users), len(known) - 1)
        return np.flatnonzero(known[places] == users)


def _same(on_topic: ErasureMarker | None, marker: ErasureMarker) -> bool:
    return on_topic is not None and on_topic.counts_from == marker.counts_from


class Erasing:
    """The erasure markers, and which of them one engine's state has applied."""

    def __init__(self, state: State, policy: InterventionPolicy | None, markers: ErasureMarkers) -> None:
        self._state, self._policy = state, policy
        self.markers = markers
        self._done: dict[int, ErasureMarker] = {}

    # -- the fold --------------------------------------------------------------------------------------

    def admit(self, batches: list[Columns], counts: Counter[str]) -> list[Columns]:
        """The events without those that an erasure marker excludes, which are counted as ``erased``."""
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
        """Load an applied erasure from the changelog; its marker holds even if the topic has lost it.

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
        """Markers of learners of partition ``number`` of ``count`` that are not applied yet, by user."""
        return {
            user: marker
            for user, marker in self.markers.items()
            if self._done.get(user, _NONE)[:2] != marker[:2] and partition(user, count) == number
        }

    def needs_look(self, user: int) -> bool:
        """Whether the topics may hold records of the learner: not if only a consent has come since."""
        done, marker = self._done.get(user), self.markers.get(user)
        if done is None or marker is None:
            return True
        return done.is_open or done.erased_at != marker.erased_at

    def carry_out(self, pending: dict[int, ErasureMarker]) -> list[int]:
        """Remove learners from memory; returns those whose keys the caller must delete from the topics."""
        erased = [user for user in pending if self.needs_look(user)]
        for user in erased:
            self.forget(user)
        self._done.update(pending)
        return erased

    def forget(self, user: int) -> None:
        """Remove a learner from the state; the slots are not used again."""
        state = self._state
        key = np.array([user], np.uint64)
        slot = state.learners.index.find(key).astype(np.int64)
        if slot[0] < 0:
            return
        state.forget_skills(state.skills_of(slot))
        state.learners.forget(key, slot)
        state.requests.forget(int(slot[0]))
        if self._policy is not None:
            self._policy.forget(int(slot[0]))


_NONE: Final = ErasureMarker(-1, -1)
