"""`lyo bench --only api` at a small size: everything is really asked, and every figure is there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.processes import ROOT


@pytest.mark.integration
@pytest.mark.slow
def test_the_api_is_measured_with_a_worker_and_a_sink_at_work() -> None:
    sizes = ["--stored", "1000", "--rate", "20", "--seconds", "5"]
    done = subprocess.run(
        [sys.executable, "-m", "lyo.cli.main", "bench", "--only", "api", "--json", *sizes],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["api_learners_stored"] == 1_000
    assert found["api_requests"] == 100
    assert found["api_errors"] == 0
    assert 0 < found["api_p50_ms"] <= found["api_p99_ms"] <= found["api_max_ms"]
    assert found["fresh_samples"] >= 2
    assert found["fresh_median_ms"] > 0
    assert found["api_events_per_second_written"] > 5
    assert 0 < found["bare_cpu_ms_per_request"] < found["api_cpu_ms_per_request"]
