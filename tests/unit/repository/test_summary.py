"""A test run says in its summary where its servers came from."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.processes import ROOT


def test_a_run_without_containers_says_so_at_its_end() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/unit/repository/test_limits.py"],
        env=os.environ | {"LYO_TEST_STACK": "local"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "testcontainers was not used: local, as LYO_TEST_STACK says" in done.stdout.splitlines()
