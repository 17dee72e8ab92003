"""The alerts: each fires at the minute it should, none on a normal day, and each says what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.monitor.exported import known_names, names_in

OPS = Path(__file__).parents[3] / "ops" / "deploy"
RUNBOOK = OPS.parents[1] / "docs" / "runbook.md"
SEVERITIES = {"page", "ticket"}


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((OPS / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        assert "CI" not in os.environ, "promtool is missing: apt-get install prometheus"
        pytest.skip("no promtool: apt-get install prometheus")
    return found


def test_each_alert_fires_at_its_minute_and_none_on_a_normal_day(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "test", "rules", "alerts_test.yml"], cwd=OPS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shipped_configuration_reads_every_job_that_the_alerts_ask_for(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "config", "prometheus.yml"], cwd=OPS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = yaml.safe_load((OPS / "prometheus.yml").read_text())
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    assert jobs == {f"lyo-{name}" for name in ("worker", "sink", "api", "monitor")}
    assert jobs >= {match for rule in rules() for match in re.findall(r'job="(lyo-\w+)"', rule["expr"])}
    assert config["global"]["external_labels"]["lyo_runbook"].startswith("https://")


def test_a_rule_that_fires_too_late_is_noticed(promtool: str, tmp_path: Path) -> None:
    text = (OPS / "alerts.yml").read_text()
    late = text.replace(
        "lyo_sink_delay_seconds > 60\n        for: 5m", "lyo_sink_delay_seconds > 60\n        for: 6m"
    )
    assert late != text
    (tmp_path / "alerts.yml").write_text(late)
    tests = yaml.safe_load((OPS / "alerts_test.yml").read_text())
    tests["tests"] = [one for one in tests["tests"] if one["name"] == "LyoSinkBehind"]
    (tmp_path / "alerts_test.yml").write_text(yaml.safe_dump(tests))
    done = subprocess.run(
        [promtool, "test", "rules", "alerts_test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "LyoSinkBehind" in done.stdout + done.stderr


def test_every_alert_is_tested_and_has_a_severity_and_a_place_in_the_runbook() -> None:
    tested = (OPS / "alerts_test.yml").read_text()
    headings = re.findall(r"^### (Lyo\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    names = [rule["alert"] for rule in rules()]
    assert headings == names, "one heading for each alert, in the same order"
    for rule in rules():
        assert rule["labels"]["severity"] in SEVERITIES
        assert (
            rule["annotations"]["runbook_url"] == "{{ $externalLabels.lyo_runbook }}#" + rule["alert"].lower()
        )
        assert f"alertname: {rule['alert']}\n        exp_alerts:" in tested


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_only_for_what_is_exported(rule: dict[str, Any]) -> None:
    asked = names_in(rule["expr"])
    assert asked
    assert asked <= known_names() | {"up"}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_the_runbook_says_of_an_alert_what_to_do_how_it_ends_and_how_it_was_tried(
    rule: dict[str, Any],
) -> None:
    text = RUNBOOK.read_text().split(f"\n### {rule['alert']}\n")[1].split("\n### ")[0].split("\n## ")[0]
    for part in ("**Means.**", "**Look.**", "**Do.**", "**Over.**", "**Tried.**"):
        assert part in text
