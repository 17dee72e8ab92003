"""Hundreds of seeds: whatever goes wrong and whenever, the end is the fold of the same events in order.

``SIM_SEEDS`` (how many), ``SIM_FIRST`` (the first) and ``SIM_MINUTES`` (as many as fit) for longer runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.simulation import mutants, runs

ROOT = Path(__file__).resolve().parents[3]
SEEDS = int(os.environ.get("SIM_SEEDS", "96"))
FIRST = int(os.environ.get("SIM_FIRST", "0"))
MINUTES = float(os.environ.get("SIM_MINUTES", "0"))
SLICES = 8
# Of so many seeds one runs the product's engine, which takes ten times as long.
EVERY_REAL = 20
# The first seed that notices, and room: a change anywhere makes other runs of all seeds.
CAUGHT_WITHIN = {
    "no_fence": 50,
    "offsets_read_before_the_fence": 400,
    "sink_offsets_without_a_lock": 100,
    "rebalance_without_the_sinks_lock": 100,
    "gaps_are_taken": 50,
    "repeats_are_taken": 200,
    "strays_are_left": 200,
    "offsets_outside_the_transaction": 50,
    "state_kept_after_a_failure": 50,
    "sweeps_through_a_backlog": 50,
    "uncommitted_is_read": 50,
    "a_loading_coordinator_says_there_is_none": 50,
    "erased_learners_rows_are_stored": 50,
    "fences_hold_nothing_back": 50,
    "a_fence_that_is_overtaken_is_left": 100,
}


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


@pytest.mark.parametrize("name", sorted(CAUGHT_WITHIN))
def test_a_rule_taken_out_is_noticed(name: str) -> None:
    with mutants.MUTANTS[name]():
        assert any(runs.finds(seed) for seed in range(CAUGHT_WITHIN[name])), (
            f"no seed below {CAUGHT_WITHIN[name]} notices {name}"
        )


def test_an_event_published_again_would_be_noticed_if_it_were_counted() -> None:
    with mutants.the_publishers_repeats_are_counted():
        assert any(runs.finds(seed, real_engine=True) for seed in range(40))


def test_offsets_that_another_worker_moved_would_be_noticed_if_they_were_called_wrong() -> None:
    with mutants.offsets_that_another_moved_are_refused():
        assert any(runs.finds(seed, real_engine=True) for seed in range(140, 200))


def test_a_seed_is_the_same_run_in_every_process() -> None:
    seed = 8
    here = runs.digest(runs.run(seed))
    assert here == runs.digest(runs.run(seed))
    there = subprocess.run(
        [sys.executable, "-m", "tests.unit.simulation.runs", str(seed)],
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.splitlines()[-1] == here
