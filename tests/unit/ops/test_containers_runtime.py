"""Which packages go into the image: what runs, with all it needs, and nothing that only tests."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from lyo.ops.deploy.containers.runtime import blocks, needed, wanted

ROOT = Path(__file__).parents[3]
REQUIREMENTS = (ROOT / "requirements.in").read_text()
LOCK = (ROOT / "requirements.txt").read_text()

ASKED = """\
# About

# Run time
Web[extra]==1.0  # pinned
plain

# Development
tester

# Builds the install
builder
"""
LOCKED = """\
builder==1 \\
    --hash=sha256:00
    # via -r requirements.in
deep==1 ; sys_platform == 'linux' \\
    --hash=sha256:00
    # via inner-part
inner-part==2 \\
    --hash=sha256:00
    # via
    #   tester
    #   web
plain==3 \\
    --hash=sha256:00
    # via -r requirements.in
tester==4 \\
    --hash=sha256:00
    # via -r requirements.in
tools==5 \\
    --hash=sha256:00
    # via tester
web==1.0 \\
    --hash=sha256:00
    # via -r requirements.in
"""


def test_what_development_alone_asks_for_is_left_out() -> None:
    assert wanted(ASKED) == {"web", "plain", "builder"}
    assert needed(ASKED, LOCKED) == ["builder", "deep", "inner-part", "plain", "web"]


def test_each_package_keeps_its_hashes() -> None:
    assert blocks(LOCKED)["inner-part"].startswith("inner-part==2 \\\n    --hash=sha256:00\n")
    assert "".join(blocks(LOCKED).values()) == LOCKED


def test_the_real_lock_gives_everything_that_runs() -> None:
    found = set(needed(REQUIREMENTS, LOCK))
    assert {
        "faust-streaming",
        "aiokafka",
        "asyncpg",
        "alembic",
        "uvicorn",
        "starlette",
        "cryptography",
    } <= found
    assert not {"pytest", "mypy", "ruff", "playwright", "testcontainers", "hypothesis"} & found


def test_every_dependency_of_what_is_kept_is_kept() -> None:
    """The comments of the lock are held against what the installed packages themselves say."""
    found = set(needed(REQUIREMENTS, LOCK))
    locked = set(blocks(LOCK))
    for name in found:
        try:
            asked = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of another system
        plain = {
            re.sub(r"[-_.]+", "-", re.split(r"[\s;<>=!~\[(]", one)[0]).lower()
            for one in asked
            if "extra ==" not in one
        }
        assert plain & locked <= found, name
