"""Lag and its status: pure functions of the answers of broker and Postgres, and of their times.

``lag in events`` = high-water mark - the group's next offset, as Kafka's own tool counts it (a transaction
marker has an offset, too). ``lag in seconds`` = now - the Kafka timestamp of the oldest record that the group
has not processed, and 0 only if there is none. Nothing is estimated from rates, so it is exact on an idle
partition, on an empty topic, and where compaction, retention or markers leave gaps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from lyo.ops.monitor.snapshot import SEVERITY, Status

WINDOW_MS: Final = 60_000
"""The time over which rates are computed (ms)."""
MOST_KEPT: Final = 120
EVENT_MS: Final = 0.25
"""Time that an event takes at most, on a slow and busy machine (ms); a batch commits only at its end."""


class Owner(NamedTuple):
    """What is seen of a member of a group from outside.

    Attributes:
        at: when it last got on with any of its partitions (ms); None: not seen.
        waits: how many offsets wait in all of its partitions.
    """

    at: int | None = None
    waits: int = 0


NOBODY: Final = Owner()


@dataclass(frozen=True, slots=True)
class GroupState:
    """A group's state in one topic-partition at one time; None: unknown.

    Attributes:
        at: the time (ms since the epoch).
        first: the oldest offset of the log.
        end: its high-water mark.
        position: the group's next offset.
        waiting: whether there is a record that the group has not processed.
        oldest: Kafka timestamp (ms) of the oldest such record.
        members: members of the group.
        owned: whether the partition is assigned to one of them.
        undecided: whether the oldest such record belongs to an open transaction.
        opening_until: the time (ms) until which its owner may be opening it.
        owner: what was seen of its owner.
    """

    at: int
    first: int | None = None
    end: int | None = None
    position: int | None = None
    waiting: bool | None = None
    oldest: int | None = None
    members: int | None = None
    owned: bool | None = None
    undecided: bool = False
    opening_until: int | None = None
    owner: Owner = NOBODY


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits of the statuses, in ms, and the most events of one batch.

    Attributes:
        stalled_ms: without progress of the owner in any of its partitions.
        alone_ms: without progress in one partition while its owner gets on with others.
    """

    lagging_ms: int = 10_000
    stalled_ms: int = 8_000
    alone_ms: int = 60_000
    transaction_ms: int = 15_000
    batch_events: int = 0


class Verdict(NamedTuple):
    """A status and the reason in words."""

    status: Status
    why: str


class Rates(NamedTuple):
    """Offsets written and processed per second; None after only one look."""

    incoming: float | None
    outgoing: float | None


def events(state: GroupState) -> int | None:
    """Lag in events; None if an offset is unknown or the group is past the log's end."""
    if state.end is None or state.position is None or state.position > state.end:
        return None
    return state.end - state.position


def seconds(state: GroupState) -> float | None:
    """Lag in seconds: the age of the oldest unprocessed record; None if it is unknown.

    A record from the future (its publisher's clock runs ahead) is 0 s old.
    """
    if state.waiting is None or state.position is None:
        return None
    if not state.waiting:
        return 0.0
    return None if state.oldest is None else max(state.at - state.oldest, 0) / 1000


def drain_seconds(lag: int | None, rates: Rates) -> float | None:
    """Seconds until the lag is gone at these rates; None if it does not shrink or a value is unknown."""
    if lag is None:
        return None
    if lag == 0:
        return 0.0
    if rates.incoming is None or rates.outgoing is None or rates.outgoing <= rates.incoming:
        return None
    return lag / (rates.outgoing - rates.incoming)


class Track:
    """The last minute of one topic-partition: its rates, and the time of the last movement.

    Attributes:
        owner: what was last seen of its owner.
    """

    def __init__(self, rules: Rules) -> None:
        self.owner = NOBODY
        self._rules = rules
        self._seen: deque[tuple[int, int, int]] = deque(maxlen=MOST_KEPT)
        self._high = -1
        self._moved_at: int | None = None
        self._position: int | None = None

    def add(self, state: GroupState) -> Verdict:
        """Take the newest state and judge it."""
        position, end = state.position, state.end
        if position is not None and end is not None:
            # A pause begins only when a record waits.
            if position != self._position or state.waiting is False or self._moved_at is None:
                self._moved_at = state.at
            self._position = position
            self._remember(state.at, position, end)
        state = replace(state, owner=self.owner)
        verdict = judge(state, self._rules, high=self._high, still_ms=self._still(state.at))
        if position is not None:
            # Once everything is read, the end of an earlier log no longer matters: a rebuild makes shorter
            # logs.
            done = state.waiting is False or (end is not None and position >= end)
            self._high = position if done else max(self._high, position)
        return verdict

    def rates(self) -> Rates:
        """Rates over the last minute, or since the first look; None before the second look."""
        if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
            return Rates(None, None)
        (began, position, end), (now, last_position, last_end) = self._seen[0], self._seen[-1]
        span = (now - began) / 1000
        return Rates(max(last_end - end, 0) / span, max(last_position - position, 0) / span)

    def _still(self, now: int) -> int:
        return 0 if self._moved_at is None else now - self._moved_at

    def _remember(self, at: int, position: int, end: int) -> None:
        if self._seen and (position < self._seen[-1][1] or end < self._seen[-1][2]):
            self._seen.clear()
        self._seen.append((at, position, end))
        # The oldest kept point is at least one window old, so that the rates cover the whole window.
        while len(self._seen) > 2 and self._seen[1][0] <= at - WINDOW_MS:
            self._seen.popleft()


def judge(state: GroupState, rules: Rules, *, high: int = -1, still_ms: int = 0) -> Verdict:
    """The status of a topic-partition, from the first rule that applies.

    Args:
        state: of the group in it.
        rules: the limits.
        high: the highest position seen; -1: none.
        still_ms: how long the position has not moved while a record waited.
    """
    return (
        _unknown(state)
        or _contradicted(state)
        or _stopped(state)
        or _stalled(state, rules, still_ms)
        or _set_back(state, high)
        or _by_age(state, rules)
    )


def _unknown(state: GroupState) -> Verdict | None:
    missing = [
        name
        for name, value in (
            ("the log's end", state.end),
            ("the group's offset", state.position),
            ("the group's members", state.members),
        )
        if value is None
    ]
    return Verdict(Status.UNKNOWN, f"unknown: {', '.join(missing)}") if missing else None


def _contradicted(state: GroupState) -> Verdict | None:
    position, end, first = state.position or 0, state.end or 0, state.first or 0
    if position > end:
        return Verdict(Status.REWOUND, f"offset {position}, but the log ends at {end}: created again")
    if position < first:
        why = f"offset {position}, but the log begins at {first}: records were deleted unread"
        return Verdict(Status.REWOUND, why)
    return None


def _set_back(state: GroupState, high: int) -> Verdict | None:
    position = state.position or 0
    if position >= high:
        return None
    return Verdict(Status.REWOUND, f"offset {position}, but was at {high}: offsets were reset")


def _stopped(state: GroupState) -> Verdict | None:
    if state.members == 0:
        return Verdict(Status.STOPPED, "the group has no members")
    if state.owned is False:
        return Verdict(Status.STOPPED, "no member of the group owns it")
    return None


def _stalled(state: GroupState, rules: Rules, still_ms: int) -> Verdict | None:
    batch_ms = round(EVENT_MS * min(state.owner.waits, rules.batch_events))
    limit = rules.stalled_ms + batch_ms + (rules.transaction_ms if state.undecided else 0)
    # An owner takes its partitions in turn: while it gets on with others there was no time for this one.
    if state.owner.at is not None and state.at - state.owner.at < limit:
        limit = max(limit, rules.alone_ms)
    opening = state.opening_until is not None and state.at < state.opening_until
    if not state.waiting or still_ms < limit or opening:
        return None
    return Verdict(Status.STALLED, f"records wait and none was processed for {still_ms / 1000:.0f} s")


def _by_age(state: GroupState, rules: Rules) -> Verdict:
    age = seconds(state)
    if age is None:
        return Verdict(Status.UNKNOWN, "unknown: the age of the oldest waiting record")
    if age * 1000 <= rules.lagging_ms:
        return Verdict(Status.OK, "nothing waits" if not state.waiting else f"waits for {age:.1f} s")
    where = ", in an open transaction" if state.undecided else ""
    return Verdict(Status.LAGGING, f"the oldest record has waited for {age:.0f} s{where}")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """A group's verdict: that of its worst partition; unknown if it has none."""
    every = list(verdicts)
    if not every:
        return Verdict(Status.UNKNOWN, "no partition is known")
    status = max((verdict.status for verdict in every), key=SEVERITY.index)
    reasons = [verdict.why for verdict in every if verdict.status is status]
    many = f" ({len(reasons)} of {len(every)} partitions)" if len(every) > 1 else ""
    return Verdict(status, reasons[0] + many)


def total(values: Sequence[int | None]) -> int | None:
    """The sum; None if a value is unknown or there is none: a partial sum would be too small."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def longest(values: Sequence[float | None]) -> float | None:
    """The largest value; None if a value is unknown or there is none."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def added(rates: Sequence[Rates]) -> Rates:
    """The sums of the rates; None if a rate is unknown."""
    incoming = [rate.incoming for rate in rates if rate.incoming is not None]
    outgoing = [rate.outgoing for rate in rates if rate.outgoing is not None]
    whole = bool(rates) and len(incoming) == len(outgoing) == len(rates)
    return Rates(sum(incoming), sum(outgoing)) if whole else Rates(None, None)
