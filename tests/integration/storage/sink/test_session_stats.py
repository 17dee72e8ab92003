"""The view `user_session_stats` says of each learner what the events say."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lyo.evaluation.replay import Replay
from lyo.models.state.layout import LAYOUTS, encode_learners
from lyo.tools.simulation import Plan, generate
from tests.support.sink.records import NAMES, Rec
from tests.support.sink.store import Store

pytestmark = pytest.mark.integration

BEGIN = 1_772_323_200_000  # 2026-03-01T00:00:00Z
VIEW = "SELECT user_id, total_sessions, avg_duration, last_session FROM user_session_stats ORDER BY user_id"


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_the_view_counts_sessions_and_minutes_as_the_events_do(
    layout: int, store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(generate(Plan(40, 60, 1, BEGIN))))
    sessions: dict[int, dict[str, tuple[datetime, datetime]]] = defaultdict(dict)
    for line in path.read_text().splitlines():
        event = json.loads(line)
        if event["type"] == "session" and event.get("ended_at"):
            times = time_of(event["started_at"]), time_of(event["ended_at"])
            sessions[event["user_id"]][event["event_id"]] = times
    replay = Replay()
    replay.read(path, None, None, None)
    learners = replay.engine.state.learners
    rows = encode_learners(learners.rows[: len(learners)], layout)
    assert len(rows) > len(sessions) / 2
    await store.write(*(Rec(NAMES.learner_rows, 0, place, *row) for place, row in enumerate(rows)))
    found = {row[0]: row[1:] for row in await store.rows(VIEW)}
    assert set(found) == set(sessions)
    for user, known in sessions.items():
        minutes = [round((end - start).total_seconds() / 60) for start, end in known.values()]
        total, mean, last = found[user]
        assert total == len(known)
        assert mean == pytest.approx(sum(minutes) / len(minutes), abs=0.51)
        assert last == max(end for _, end in known.values())
