"""Hundreds of seeds: whatever goes wrong and whenever, the end is the fold of the same events in order.

``SIM_SEEDS`` (how many), ``SIM_FIRST`` (the first) and ``SIM_MINUTES`` (as many as fit) for longer runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.simulation import mutants, runs

ROOT = Path(__file__).resolve().parents[3]
SEEDS = int(os.environ.get("SIM_SEEDS", "300"))
FIRST = int(os.environ.get("SIM_FIRST", "0"))
MINUTES = float(os.environ.get("SIM_MINUTES", "0"))
SLICES = 8
# Of so many seeds one runs the product's engine, which takes ten times as long.
EVERY_REAL = 20
# How many seeds are tried: the first that notices, and room, since a change anywhere makes other runs of all
# seeds. And what it has to say: a run that fails for another reason has noticed nothing.
NOTICED = {
    "no_fence": (50, r"went back: lyo |dead letters of .*: [2-9]"),
    "offsets_read_before_the_fence": (400, r"row .* differs|dead letters of .*: [2-9]"),
    "sink_offsets_without_a_lock": (200, r"stored offset went back|stored \d+ times"),
    "rebalance_without_the_sinks_lock": (100, r"KeyError: Place"),
    "gaps_are_taken": (50, r"row .* (differs|is missing)"),
    "repeats_are_taken": (200, r"row .* differs"),
    "strays_are_left": (200, r"nothing was done .* events of partition"),
    "offsets_outside_the_transaction": (50, r"Offset\w+: .* the rows hold everything up to"),
    "state_kept_after_a_failure": (50, r"does not come to rest .* is processed up to"),
    "sweeps_through_a_backlog": (50, r"swept with \d+ of \d+ events"),
    "uncommitted_is_read": (50, r"Offset\w+: .* the rows hold everything up to"),
    "a_loading_coordinator_says_there_is_none": (50, r"has no offset, but the rows hold"),
    "erased_learners_rows_are_stored": (50, r"still holds .* of an erased learner"),
    "a_refused_record_is_blamed_at_once": (50, r"dead letters of "),
    "markers_hold_nothing_back": (50, r"row .* (differs|is missing)"),
    "a_marker_that_is_overtaken_is_left": (100, r"the newest record about"),
}


def says(seed: int, what: str, *, real_engine: bool = False) -> bool:
    """Whether a seed finds something of this kind."""
    found = runs.finds(seed, real_engine=real_engine)
    return found is not None and re.search(what, found) is not None


@pytest.mark.parametrize("part", range(SLICES))
def test_nothing_is_lost_and_nothing_counted_twice(part: int) -> None:
    for seed in range(FIRST + part, FIRST + SEEDS, SLICES):
        runs.run(seed)


def test_the_products_engine_agrees_with_replay() -> None:
    for seed in range(FIRST, FIRST + SEEDS, EVERY_REAL):
        runs.run(seed, real_engine=True)


@pytest.mark.skipif(not MINUTES, reason="SIM_MINUTES asks for it")
@pytest.mark.timeout(MINUTES * 60 + 600)
def test_as_many_seeds_as_there_is_time_for() -> None:
    end, seed = time.monotonic() + MINUTES * 60, FIRST + SEEDS
    while time.monotonic() < end:
        runs.run(seed, real_engine=seed % EVERY_REAL == 0)
        seed += 1
    print(f"seeds {FIRST + SEEDS} to {seed - 1}")


@pytest.mark.parametrize("name", sorted(NOTICED))
def test_a_rule_taken_out_is_noticed(name: str) -> None:
    most, what = NOTICED[name]
    with mutants.MUTANTS[name]():
        assert any(says(seed, what) for seed in range(most)), f"no seed below {most} notices {name}"


def test_an_event_published_again_would_be_noticed_if_it_were_counted() -> None:
    with mutants.the_publishers_repeats_are_counted():
        assert any(says(seed, r"row .* differs", real_engine=True) for seed in range(40))


def test_offsets_that_another_worker_moved_would_be_noticed_if_they_were_called_wrong() -> None:
    with mutants.offsets_that_another_moved_are_refused():
        assert any(says(seed, r"partition \d failed: Offset", real_engine=True) for seed in range(140, 200))


def test_a_seed_is_the_same_run_in_every_process() -> None:
    seed = 8
    here = runs.digest(runs.run(seed))
    assert here == runs.digest(runs.run(seed))
    there = subprocess.run(
        [sys.executable, "-m", "tests.support.simulation.runs", str(seed)],
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.splitlines()[-1] == here
