"""Looks for tests, as a monitor would have made them."""

from __future__ import annotations

from typing import Any

from lyo.ops.monitor.snapshot import (
    DeadLetterEntry,
    DeadLetterSummary,
    GroupLag,
    KindAge,
    Member,
    PartitionLag,
    Reached,
    Snapshot,
    Status,
    Stored,
)

AT = 1_800_000_000_000
FINE = Reached(ok=True)
SCRIPT = "<script>alert(1)</script>"


def one(number: int, **changes: Any) -> PartitionLag:
    known: dict[str, Any] = {
        "group": "lyo",
        "topic": "lyo.sessions",
        "partition": number,
        "status": Status.OK,
        "why": "nothing waits",
        "position": 10,
        "first": 0,
        "end": 10,
        "events": 0,
        "seconds": 0.0,
        "rate_in": 1.0,
        "rate_out": 1.0,
        "drain_seconds": 0.0,
        "owner": "lyo-worker-1",
    }
    return PartitionLag(**(known | changes))


def nothing(number: int) -> PartitionLag:
    return PartitionLag(
        group="lyo", topic="lyo.sessions", partition=number, status=Status.UNKNOWN, why="not known"
    )


def group(*partitions: PartitionLag, **changes: Any) -> GroupLag:
    known: dict[str, Any] = {
        "group": "lyo",
        "role": "workers",
        "status": Status.OK,
        "why": "nothing waits",
        "state": "Stable",
        "members": 1,
        "events": 0,
        "seconds": 0.0,
        "rate_in": 1.0,
        "rate_out": 1.0,
        "drain_seconds": 0.0,
    }
    return GroupLag(partitions=partitions, **(known | changes))


def letter(**changes: Any) -> DeadLetterEntry:
    known: dict[str, Any] = {
        "place": (1, 5),
        "topic": "lyo.sessions",
        "partition": 1,
        "offset": 7,
        "reason": f"user_id: {SCRIPT}",
        "field": "user_id",
        "failed_at": "2027-01-15T08:00:00.000Z",
    }
    return DeadLetterEntry(**(known | changes))


def snapshot(*groups: GroupLag, **changes: Any) -> Snapshot:
    known: dict[str, Any] = {
        "at": AT,
        "took_seconds": 0.1,
        "kafka": FINE,
        "postgres": FINE,
        "groups": groups or (group(one(0), one(1)),),
        "members": (
            Member(
                group="lyo",
                name="lyo-worker-1",
                host="127.0.0.1",
                release="1.2.3",
                started=AT - 60_000,
                numbers=(0, 1),
                restoring=(1,),
                restore_seconds=2.5,
            ),
        ),
        "predictions": (
            KindAge(kind="dropout-risk", at=AT - 5_000, age_seconds=5.0, model="dropout-1"),
            KindAge(kind="timing", empty=True),
            KindAge(kind="struggle"),
        ),
        "sink_delay_seconds": 0.5,
        "late": 3,
        "duplicates": 4,
        "dead_letters": DeadLetterSummary(
            total=1, by_topic={"lyo.sessions": 1}, misplaced={"lyo.sessions": 1}, newest=(letter(),)
        ),
        "stored": Stored(
            overdue=2,
            learners=9,
            outbox_waiting=1,
            outbox_seconds=1.5,
            outbox_refused=0,
            revision="phase2_003",
        ),
    }
    return Snapshot(**(known | changes))
