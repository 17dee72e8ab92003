"""The specification's deployment steps with `alembic` itself, and what it says where they cannot run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.processes import ROOT

pytestmark = pytest.mark.integration


def alembic(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        env=os.environ | {"LYO_DATABASE_URL": database_url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_specifications_revision_and_the_command_that_follows_make_every_table(database_url: str) -> None:
    for revision in ("phase2_001", "head"):
        done = alembic(database_url, "upgrade", revision)
        assert done.returncode == 0, done.stderr
    assert alembic(database_url, "current").stdout.strip().endswith("(head)")


@pytest.mark.parametrize("command", [["upgrade", "phase2_001"], ["current"]])
@pytest.mark.parametrize("wrong", ["name", "port"])
def test_a_database_that_cannot_be_used_is_one_line(
    database_url: str, command: list[str], wrong: str
) -> None:
    server, _, name = database_url.rpartition("/")
    url = f"{server}/no_such_database" if wrong == "name" else f"postgresql://postgres@127.0.0.1:9/{name}"
    done = alembic(url, *command)
    assert done.returncode != 0
    (line,) = (done.stdout + done.stderr).strip().splitlines()
    assert "LYO_DATABASE_URL: " in line
    assert ("no_such_database" if wrong == "name" else "9") in line
