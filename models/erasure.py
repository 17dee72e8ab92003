"""Erasure: the fence that keeps a learner forgotten, and what the fold and the restore do about it.

A fence is all that is kept of an erased learner: who, when it was asked, and the epoch, the instant from
which events count again. Fences are the maximum of what was ever said, so their order does not matter, and
an event counts or not by its own time alone: published again, or read again from the log's beginning, it is
dropped again. Design: "Erasure".
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

    from lyo.models.interventions.policy import Deciding
    from lyo.models.state.partition import State

__all__ = ["ERASED_KEY", "OPEN_NEVER", "Erasing", "Fence", "Fences", "Mark", "fence_of", "mark_key"]

ERASED_KEY: Final = b"#erased|"
"""What the key of a mark begins with, in the changelog of the learners' rows; the user id follows."""
OPEN_NEVER: Final = 0

Ints = NDArray[np.int64]


class Fence(NamedTuple):
    """What is kept of an erased learner; times in ms.

    Attributes:
        erased_at: when the newest erasure was asked for; 0: only a consent is known.
        epoch: the newest consent: what happened from then on counts; 0: there is none.
        organization: of the learner, as the newest record names it; 0: none.
    """

    erased_at: int
    epoch: int = OPEN_NEVER
    organization: int = 0

    @property
    def is_open(self) -> bool:
        """Whether events count again: a consent older than the erasure is no consent."""
        return self.epoch > self.erased_at

    @property
    def counts_from(self) -> int | None:
        """The time from which events count; None: none does."""
        return self.epoch if self.is_open else None

    def merged(self, other: Fence) -> Fence:
        """The later of both, part by part: the same in any order, once or often."""
        newer = other if (other.erased_at, other.epoch) >= (self.erased_at, self.epoch) else self
        return Fence(
            max(self.erased_at, other.erased_at),
            max(self.epoch, other.epoch),
            newer.organization or self.organization or other.organization,
        )

    def lets(self, at: Ints) -> NDArray[np.bool_]:
        """Which events at these times ``(n,)`` count."""
        return at >= self.epoch if self.is_open else np.zeros(len(at), bool)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a mark: everything of the learner from before this fence is gone from the topics."""

    user_id: int
    erased_at: int
    epoch: int
    organization_id: int | None = None
    done_at: int = 0
    """Of the clock, ms."""
    removed: dict[str, int] = {}
    """Keys that were deleted, by topic."""

    @property
    def fence(self) -> Fence:
        """The fence that was carried out."""
        return Fence(self.erased_at, self.epoch, self.organization_id or 0)


encode_mark = msgspec.json.Encoder().encode
decode_mark = msgspec.json.Decoder(Mark).decode


def mark_key(user: int) -> bytes:
    """Key of a learner's mark."""
    return ERASED_KEY + b"%d" % user


def fence_of(event: Erasure) -> Fence:
    """The fence that an erasure or a consent asks for."""
    organization = event.organization_id or 0
    asked = milliseconds(event.requested_at)
    if event.consented_at is None:
        return Fence(asked, OPEN_NEVER, organization)
    epoch = milliseconds(event.consented_at)
    # A consent stands for the erasure before it, too: compaction may have removed that one's record.
    return Fence(min(asked, epoch - 1), epoch, organization)


def record_of(user: int, fence: Fence) -> tuple[bytes, bytes]:
    """Key and value of the erasures' record that says the same as a fence."""
    name = blake2b(b"%d %d %d" % (user, *fence[:2]), digest_size=16).hexdigest()
    said: dict[str, Any] = {"event_id": name, "user_id": user}
    if fence.organization:
        said["organization_id"] = fence.organization
    said["requested_at"] = text(max(fence.erased_at, 0))
    if fence.is_open:
        said["consented_at"] = text(fence.epoch)
    return b"%d" % user, msgspec.json.encode(said)


class Fences:
    """Every fence, by user; read whole from the erasures topic before anything is folded."""

    def __init__(self) -> None:
        self.revision = 0
        self._of: dict[int, Fence] = {}
        self._said: dict[int, Fence | None] = {}
        self._users: Ints | None = None

    def __len__(self) -> int:
        """How many learners have one."""
        return len(self._of)

    def get(self, user: int) -> Fence | None:
        """A learner's fence."""
        return self._of.get(user)

    def items(self) -> Iterable[tuple[int, Fence]]:
        """Users and their fences."""
        return self._of.items()

    def put(self, key: bytes | None, value: bytes | None, timestamp: int = -1) -> Rejected | None:
        """Take one record of the erasures topic; gives why it was refused, if it was.

        A tombstone lifts no fence: `overtaken` says what the topic should hold instead.
        """
        if value is None:
            if key is not None and key.isdigit() and int(key) in self._of:
                self._said[int(key)] = None
                self.revision += 1
            return Rejected(0, "the record has no value: an erasure is not taken back by deleting it", None)
        columns, rejected = decode(Kind.ERASURE, [key], [value], [timestamp])
        if rejected:
            return rejected[0]
        self.add(int(columns.user[0]), fence_of(columns.rows[0]), said=True)
        return None

    def add(self, user: int, fence: Fence, *, said: bool = False) -> None:
        """Take a fence, from the topic if ``said``, else from a mark."""
        before = self._of.get(user)
        now = fence if before is None else before.merged(fence)
        self._of[user] = now
        if said:
            self._said[user] = fence
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
        """Places ``(m,)`` of users ``(n,)`` that have a fence."""
        if not self._of:
            return np.zeros(0, np.int64)
        known = self._users
        if known is None:
            known = self._users = np.sort(np.fromiter(self._of, np.int64, len(self._of)))
        found = np.minimum(np.searchsorted(known, users), len(known) - 1)
        return np.flatnonzero(known[found] == users)


def _same(said: Fence | None, fence: Fence) -> bool:
    return said is not None and said.counts_from == fence.counts_from


class Erasing:
    """The fences as one engine sees them, and which of them its state has carried out."""

    def __init__(self, state: State, deciding: Deciding | None, fences: Fences) -> None:
        self._state, self._deciding = state, deciding
        self.fences = fences
        self._done: dict[int, Fence] = {}

    # -- the fold --------------------------------------------------------------------------------------

    def admit(self, batches: list[Columns], counts: Counter[str]) -> list[Columns]:
        """The events that no fence holds back."""
        if not self.fences:
            return batches
        return [self._admitted(batch, counts) for batch in batches]

    def _admitted(self, batch: Columns, counts: Counter[str]) -> Columns:
        hit = self.fences.hit(batch.user)
        if not len(hit):
            return batch
        keep = np.ones(len(batch.user), bool)
        for user in np.unique(batch.user[hit]).tolist():
            fence = self.fences.get(user)
            mine = hit[batch.user[hit] == user]
            keep[mine] = fence is None or fence.lets(batch.at[mine])
        counts["erased"] += int((~keep).sum())
        return batch if keep.all() else batch.take(np.flatnonzero(keep))

    # -- the restore -----------------------------------------------------------------------------------

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take a mark from the changelog. A mark is a fence: it holds even where the topic has lost it.

        Raises:
            msgspec.MsgspecError: not a mark.
        """
        user = int(key.removeprefix(ERASED_KEY))
        if value is None:
            self._done.pop(user, None)
            return
        fence = decode_mark(value).fence
        self._done[user] = fence
        self.fences.add(user, fence)

    # -- erasing ---------------------------------------------------------------------------------------

    def pending(self, number: int, count: int) -> dict[int, Fence]:
        """Fences of the learners of partition ``number`` of ``count`` that are not carried out yet."""
        return {
            user: fence
            for user, fence in self.fences.items()
            if self._done.get(user, _NONE)[:2] != fence[:2] and partition(user, count) == number
        }

    def needs_look(self, user: int) -> bool:
        """Whether something of the learner may be on the topics: not if only a consent has come since."""
        done, fence = self._done.get(user), self.fences.get(user)
        if done is None or fence is None:
            return True
        return done.is_open or done.erased_at != fence.erased_at

    def carry_out(self, pending: dict[int, Fence]) -> list[int]:
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


_NONE: Final = Fence(-1, -1)
