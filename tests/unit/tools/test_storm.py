"""What a storm counts, and what it takes for an end that says why."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.faults.fleet import Fleet, Member
from tests.support.faults.storm import kill_one


@pytest.mark.parametrize(
    ("said", "counted"), [("started\n", ""), ("task: assigned numbers [1]\n", "worker-1")]
)
async def test_a_kill_counts_if_the_process_had_begun_to_work(
    said: str, counted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member("worker-1", "worker", tmp_path, {})
    before = "assigned numbers [1, 2]\n"
    member.log.write_text(before + said)
    member._begun = len(before)
    monkeypatch.setattr(Member, "alive", True)
    killed: list[Member] = []
    monkeypatch.setattr(member, "kill", lambda: killed.append(member))
    fleet: Any = SimpleNamespace(of=lambda _: [member])
    assert await kill_one(fleet, "worker")(random.Random(1)) == counted
    assert killed == [member]


def test_an_end_of_its_own_has_one_line_that_says_why(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, {})
    why = ["worker-1 (-9): went on", "worker-1 (1): lyo worker: nothing was done for 60 s"]
    why += ["sink-1 (1): Error: another sink has taken over"]
    bad = ["worker-1 (-11): went on", "sink-1 (1): KeyError: 7", "sink-1 (0): stopped"]
    fleet.revived = [*why, *bad]
    assert fleet.unexplained() == bad
