"""Lag and what it means: pure functions of what broker and Postgres said, and of when they said it.

``lag in events`` = high-water mark - the group's next offset, as the broker's own tool counts (the marker of
a transaction is an offset, too). ``lag in seconds`` = now - the Kafka timestamp of the oldest record that the
group has not processed, and 0 only where there is no such record: nothing is estimated from rates, so it is
exact on an idle partition, on an empty topic, and where compaction, retention or markers left gaps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from lyo.ops.monitor.snapshot import SEVERITY, Status

WINDOW_MS: Final = 60_000
"""How far back rates look (ms)."""
MOST_KEPT: Final = 120


@dataclass(frozen=True, slots=True)
class Standing:
    """What was said of one topic-partition of a group at one moment; None: it was not said.

    Attributes:
        at: when (ms since the epoch).
        first: the oldest offset of the log.
        end: its high-water mark.
        position: the group's next offset.
        waiting: whether there is a record that the group has not processed.
        oldest: Kafka timestamp (ms) of the oldest such record.
        members: members of the group.
        owned: whether the partition is assigned to one of them.
        undecided: the oldest such record belongs to a transaction that is still open.
        opening_until: until when (ms) its owner may take to open it.
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


@dataclass(frozen=True, slots=True)
class Rules:
    """From when on a wait is called what: ages and pauses in ms."""

    lagging_ms: int = 10_000
    stalled_ms: int = 8_000
    transaction_ms: int = 15_000


class Verdict(NamedTuple):
    """A status and the rule that gave it, in words."""

    status: Status
    why: str


class Rates(NamedTuple):
    """Offsets each second, written and processed; None while there was only one look."""

    incoming: float | None
    outgoing: float | None


def events(standing: Standing) -> int | None:
    """Lag in events; None if one of the two is unknown or the group is past the log's end."""
    if standing.end is None or standing.position is None or standing.position > standing.end:
        return None
    return standing.end - standing.position


def seconds(standing: Standing) -> float | None:
    """Lag in seconds: the age of the oldest unprocessed record; None if that is unknown.

    A record from the future (its publisher's clock runs ahead) is 0 s old.
    """
    if standing.waiting is None or standing.position is None:
        return None
    if not standing.waiting:
        return 0.0
    return None if standing.oldest is None else max(standing.at - standing.oldest, 0) / 1000


def drain_seconds(lag: int | None, rates: Rates) -> float | None:
    """Until the lag is gone at these rates (s); None if it does not shrink, or something is unknown."""
    if lag is None:
        return None
    if lag == 0:
        return 0.0
    if rates.incoming is None or rates.outgoing is None or rates.outgoing <= rates.incoming:
        return None
    return lag / (rates.outgoing - rates.incoming)


class Track:
    """The last minute of one topic-partition: its rates, and since when nothing moved."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._seen: deque[tuple[int, int, int]] = deque(maxlen=MOST_KEPT)
        self._high = -1
        self._moved_at: int | None = None
        self._position: int | None = None

    def add(self, standing: Standing) -> Verdict:
        """Take the newest standing and judge it."""
        position, end = standing.position, standing.end
        if position is not None and end is not None:
            # Nothing was left undone while it stood: the pause begins when something waits.
            if position != self._position or standing.waiting is False or self._moved_at is None:
                self._moved_at = standing.at
            self._position = position
            self._remember(standing.at, position, end)
        found = judge(standing, self._rules, high=self._high, still_ms=self._still(standing.at))
        if position is not None:
            # Once all is read, the end of an earlier log says nothing: a rebuild makes shorter ones.
            done = standing.waiting is False or (end is not None and position >= end)
            self._high = position if done else max(self._high, position)
        return found

    def rates(self) -> Rates:
        """Over the last minute, or since the first look; None before the second."""
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
        # The first one kept is at least a window old, so that the span is whole.
        while len(self._seen) > 2 and self._seen[1][0] <= at - WINDOW_MS:
            self._seen.popleft()


def judge(standing: Standing, rules: Rules, *, high: int = -1, still_ms: int = 0) -> Verdict:
    """The status of a topic-partition; the first rule that holds gives it.

    Args:
        standing: what was said of it.
        rules: the limits.
        high: the highest position it was seen at; -1: none.
        still_ms: for how long it has been seen not to move while something waited.
    """
    return (
        _unknown(standing)
        or _contradicted(standing)
        or _stopped(standing)
        or _stalled(standing, rules, still_ms)
        or _set_back(standing, high)
        or _by_age(standing, rules)
    )


def _unknown(standing: Standing) -> Verdict | None:
    missing = [
        name
        for name, value in (
            ("where the log ends", standing.end),
            ("where the group stands", standing.position),
            ("who is in the group", standing.members),
        )
        if value is None
    ]
    return Verdict(Status.UNKNOWN, f"not known: {', '.join(missing)}") if missing else None


def _contradicted(standing: Standing) -> Verdict | None:
    position, end, first = standing.position or 0, standing.end or 0, standing.first or 0
    if position > end:
        return Verdict(Status.REWOUND, f"stands at {position}, but the log ends at {end}: created again")
    if position < first:
        why = f"stands at {position}, but the log begins at {first}: records went unread"
        return Verdict(Status.REWOUND, why)
    return None


def _set_back(standing: Standing, high: int) -> Verdict | None:
    position = standing.position or 0
    if position >= high:
        return None
    return Verdict(Status.REWOUND, f"stands at {position}, but was at {high}: offsets were set back")


def _stopped(standing: Standing) -> Verdict | None:
    if standing.members == 0:
        return Verdict(Status.STOPPED, "the group has no members")
    if standing.owned is False:
        return Verdict(Status.STOPPED, "no member of the group owns it")
    return None


def _stalled(standing: Standing, rules: Rules, still_ms: int) -> Verdict | None:
    limit = rules.stalled_ms + (rules.transaction_ms if standing.undecided else 0)
    opening = standing.opening_until is not None and standing.at < standing.opening_until
    if not standing.waiting or still_ms < limit or opening:
        return None
    return Verdict(Status.STALLED, f"something waits and nothing was done for {still_ms / 1000:.0f} s")


def _by_age(standing: Standing, rules: Rules) -> Verdict:
    age = seconds(standing)
    if age is None:
        return Verdict(Status.UNKNOWN, "not known: how long the oldest record has waited")
    if age * 1000 <= rules.lagging_ms:
        return Verdict(Status.OK, "nothing waits" if not standing.waiting else f"waits for {age:.1f} s")
    held = ", in a transaction that is still open" if standing.undecided else ""
    return Verdict(Status.LAGGING, f"the oldest record has waited for {age:.0f} s{held}")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """What a group is: its worst partition's verdict, unknown if it has none."""
    found = list(verdicts)
    if not found:
        return Verdict(Status.UNKNOWN, "no partition is known")
    status = max((one.status for one in found), key=SEVERITY.index)
    reasons = [one.why for one in found if one.status is status]
    many = f" ({len(reasons)} of {len(found)} partitions)" if len(found) > 1 else ""
    return Verdict(status, reasons[0] + many)


def total(values: Sequence[int | None]) -> int | None:
    """The sum; None if one is unknown or there is none: a sum of some would be too small."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def longest(values: Sequence[float | None]) -> float | None:
    """The largest; None if one is unknown or there is none."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def added(rates: Sequence[Rates]) -> Rates:
    """The rates of all together; None if one is unknown."""
    incoming = [one.incoming for one in rates if one.incoming is not None]
    outgoing = [one.outgoing for one in rates if one.outgoing is not None]
    whole = bool(rates) and len(incoming) == len(outgoing) == len(rates)
    return Rates(sum(incoming), sum(outgoing)) if whole else Rates(None, None)
