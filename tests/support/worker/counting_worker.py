"""A worker with a small engine, for the tests of what carries: it counts events per learner.

Rows: key ``user``, value ``[events, time of the newest (ms)]``. Predictions: dropout-risk, ``{"count": n}``
from a batch, and ``{"swept": limit}`` from a sweep, once, when a learner was silent for a minute.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from lyo.models.erasure import ErasureMarker
from lyo.models.events.decode import Columns, Kind, Rejected
from lyo.streams.runtime.worker import Worker

Pair = tuple[bytes, bytes | None]
SILENCE = 60_000


@dataclass
class CountingChanges:
    learner_rows: list[tuple[bytes, bytes]] = field(default_factory=list)
    skill_rows: list[tuple[bytes, bytes]] = field(default_factory=list)
    predictions: dict[str, list[Pair]] = field(default_factory=dict)
    interventions: list[Pair] = field(default_factory=list)
    rejected: list[tuple[Kind, Rejected]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    erased: list[int] = field(default_factory=list)
    users: dict[int, tuple[int, int]] = field(default_factory=dict)
    history: None = None


class CountingEngine:
    """Events per learner; a learner is due when silent for a minute after the newest event."""

    def __init__(self) -> None:
        self.users: dict[int, tuple[int, int]] = {}
        self.due_at: dict[int, int] = {}

    def load(
        self,
        learner_rows: Sequence[Pair],
        skill_rows: Sequence[Pair],
        struggle: Sequence[Pair],
        interventions: Sequence[Pair],
    ) -> None:
        for key, value in learner_rows:
            if value is not None:
                count, at = json.loads(value)
                self.users[int(key)] = (count, at)

    def loaded(self) -> None:
        self.due_at = {user: at + SILENCE for user, (_, at) in self.users.items()}

    def apply(self, batches: list[Columns]) -> CountingChanges:
        changes = CountingChanges()
        for columns in batches:
            users, counts = np.unique(columns.user, return_counts=True)
            newest = np.zeros(len(users), np.int64)
            np.maximum.at(newest, np.searchsorted(users, columns.user), columns.at)
            for user, count, at in zip(users.tolist(), counts.tolist(), newest.tolist(), strict=True):
                done, last = changes.users.get(user) or self.users.get(user, (0, 0))
                changes.users[user] = (done + count, max(last, at))
            changes.counts["applied"] += len(columns.user)
        changes.learner_rows = [(b"%d" % user, b"[%d,%d]" % row) for user, row in changes.users.items()]
        changes.predictions = {
            "dropout-risk": [(b"%d" % u, b'{"count":%d}' % row[0]) for u, row in changes.users.items()]
        }
        return changes

    def due(self, limit: int, read_until: int = 0) -> bool:
        return any(at <= limit for at in self.due_at.values())

    def sweep(self, limit: int, most: int = 5000, read_until: int = 0) -> CountingChanges:
        users = [user for user, at in self.due_at.items() if at <= limit][:most]
        changes = CountingChanges(
            learner_rows=[(b"%d" % user, b"[%d,%d]" % self.users[user]) for user in users]
        )
        body = b'{"swept":%d}' % limit
        changes.predictions = {"dropout-risk": [(b"%d" % user, body) for user in users]}
        changes.counts["swept"] = len(users)
        return changes

    def pending(self, number: int, count: int) -> dict[int, ErasureMarker]:
        return {}

    def erase(self, pending: dict[int, ErasureMarker]) -> CountingChanges:
        return CountingChanges()

    def commit(self, changes: CountingChanges) -> None:
        for user, row in changes.users.items():
            self.users[user] = row
            self.due_at[user] = row[1] + SILENCE
        if changes.counts["swept"]:
            for key, _ in changes.learner_rows:
                self.due_at.pop(int(key), None)


class EmptyCatalogue:
    def put(self, kind: Kind, key: bytes, value: bytes | None) -> Rejected | None:
        try:
            json.loads(value or b"{}")
        except ValueError:
            return Rejected(0, "value is not JSON", None)
        return None


def create() -> Worker:
    from lyo import agents
    from lyo.streams.settings import load_settings

    return Worker(
        load_settings(), catalogue=EmptyCatalogue(), engine=CountingEngine, register=agents.register
    )


if __name__ == "__main__":
    from lyo.streams.bootstrap import run_worker
    from lyo.streams.settings import load_settings

    reason = run_worker(load_settings(), create)
    sys.stderr.write(f"{reason}\n")
    sys.stderr.flush()
    os._exit(0 if reason is None else 1)
