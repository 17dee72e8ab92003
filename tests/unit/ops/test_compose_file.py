"""What docker-compose.yml says, without an engine: settings that exist, nothing open, everything limited."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lyo.cli.main import COMMANDS
from lyo.streams.settings_reference import reference

TEXT = (Path(__file__).parents[3] / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = {"topics", "migrate", "worker", "sink", "api", "monitor"}
RUNNING = {"kafka", "postgres", "worker", "sink", "api", "monitor"}


def test_the_whole_system_is_there() -> None:
    assert set(SERVICES) == OURS | RUNNING
    for name in OURS:
        assert SERVICES[name]["command"][0] == name
        assert name in COMMANDS


def test_every_setting_of_ours_exists() -> None:
    known = {one.variable for one in reference()} | ({"LYO_IMAGE"})
    named = set(re.findall(r"\bLYO_[A-Z_]+\b", TEXT))
    assert named <= known


def test_images_are_settings_with_a_version() -> None:
    for name in ("kafka", "postgres"):
        assert re.fullmatch(rf"\$\{{{name.upper()}_IMAGE:-[\w/]+:[\d.]+\}}", SERVICES[name]["image"])
    assert re.search(r"PYTHON_IMAGE: \$\{PYTHON_IMAGE:-python:3\.11\.\d+-slim-bookworm\}", TEXT)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nothing_is_reachable_from_other_machines(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@pytest.mark.parametrize("name", sorted(RUNNING))
def test_what_runs_is_watched_limited_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert service["restart"] == "unless-stopped"
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_are_read_only_and_may_do_nothing_special(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_each_waits_for_what_it_needs() -> None:
    done, well = {"condition": "service_completed_successfully"}, {"condition": "service_healthy"}
    assert SERVICES["topics"]["depends_on"] == {"kafka": well}
    assert SERVICES["migrate"]["depends_on"] == {"postgres": well}
    everything = {"kafka": well, "topics": done, "postgres": well, "migrate": done}
    assert all(SERVICES[name]["depends_on"] == everything for name in ("worker", "sink", "monitor"))
    assert SERVICES["api"]["depends_on"] == {"postgres": well, "migrate": done}
