"""The dashboard: Grafana's shape, valid PromQL, and only metrics that exist, every success figure too."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from lyo.ops.monitor import quality
from tests.support.monitor.exported import known_names, labels_of, names_in

DASHBOARD = Path(__file__).parents[3] / "ops" / "deploy" / "dashboard.json"


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", [])]


def test_it_asks_for_metrics_that_exist_and_for_labels_that_they_have() -> None:
    asked = {name for expression in expressions() for name in names_in(expression)}
    assert asked <= known_names() | {"up"}
    for panel in panels():
        for target in panel.get("targets", []):
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            has = set().union(*(labels_of(name) for name in names_in(target["expr"])))
            assert shown <= has | {"instance", "job"}, target


def test_it_shows_every_success_figure() -> None:
    asked = {name for expression in expressions() for name in names_in(expression)}
    assert {quality.PREFIX + name for name in quality.FIGURES} <= asked


def test_it_has_the_shape_that_grafana_reads() -> None:
    document = json.loads(DASHBOARD.read_text())
    assert document["schemaVersion"] >= 36
    assert [one["type"] for one in document["templating"]["list"]] == ["datasource", "textbox"]
    assert [link["url"] for link in document["links"]] == ["${runbook}"]
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    for panel in document["panels"]:
        assert panel["type"] in {"row", "stat", "timeseries"}
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${source}"
    assert not [pair for pair in combinations(document["panels"], 2) if _overlap(*pair)]


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    a, b = one["gridPos"], other["gridPos"]
    apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    return not apart and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def test_its_expressions_are_valid(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        assert "CI" not in os.environ, "promtool is missing: apt-get install prometheus"
        pytest.skip("no promtool: apt-get install prometheus")
    rules = [
        {"record": f"lyo:shown_{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions())
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "shown", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
