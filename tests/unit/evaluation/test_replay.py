"""`lyo replay --interventions`: what is decided once at the end, and day by day."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lyo.cli.files.replay import replay
from lyo.models.arrays.zones import DAY, HOUR
from tests.support.learners.building import START, Sent, Stream, columns, iso, session
from tests.support.learners.interventions import habit, stuck

END = START + 40 * DAY + HOUR


def story() -> list[Sent]:
    """Learners who stop, and come back; and one who is stuck."""
    made = [*habit(1, 8), *habit(1, 6, first=25), *habit(2, 30, hour=9), *stuck(3, 14)]
    made += [session(4, START + day * DAY + 23 * HOUR + 40 * 60_000) for day in range(20)]
    return sorted(made, key=lambda one: int(columns([one])[0].at[0]))


STORY = story()


def printed(path: Path, *options: str) -> list[dict[str, Any]]:
    said = CliRunner().invoke(replay, [str(path), "--at", iso(END), "--interventions", *options])
    assert said.exit_code == 0, said.output
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    return [one for one in lines if "intervention_id" in one]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The story as a file, somewhat out of order."""
    rng = random.Random(1)
    events = STORY
    order = sorted(range(len(events)), key=lambda place: place + rng.uniform(0, 3))
    lines = [json.dumps({"type": events[one].kind.value, **events[one].body}) for one in order]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "events.jsonl"


def test_as_history_it_decides_once_at_the_end(path: Path) -> None:
    whole = Stream()
    whole.feed(STORY)
    whole.sweep(END)
    found = printed(path)
    assert found == printed(path, "--as", "history")
    wanted = sorted(whole.told, key=lambda one: (one["user_id"], one["as_of"], one["intervention_id"]))
    assert found == wanted
    assert {one["status"] for one in found} == {"active"}


def test_as_live_it_decides_at_the_end_of_each_day(path: Path) -> None:
    events, stream = STORY, Stream()
    for hour in range(START // HOUR, END // HOUR + 1):
        now = [one for one in events if int(columns([one])[0].at[0]) // HOUR == hour]
        if now:
            stream.feed(now)
        stream.sweep(min((hour + 1) * HOUR - 1, END))
    found = {one["intervention_id"]: one for one in printed(path, "--as", "live")}
    wanted = {one["intervention_id"]: one for one in stream.told}
    assert found == wanted
    assert "retracted" in {one["status"] for one in found.values()}, "learner 1 comes back"
    assert len(found) > len(printed(path))
