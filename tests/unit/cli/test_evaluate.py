"""`lyo evaluate`: one page or one object, models by name, labels from a file, bad lines named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from lyo.cli.files.evaluate import evaluate
from lyo.evaluation.tasks import TASKS
from lyo.tools.simulation import Plan, generate

END = 1_772_323_200_000  # 2026-03-01
KEYS = {"n", "positives", "auc", "log_loss", "accuracy", "brier", "ece"}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    path.write_bytes(b"".join(generate(Plan(40, 60, 3, END, 0.0, 1))))
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate, [str(argument) for argument in arguments])


def figures(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_prints_the_keys_of_the_contract_for_each_model(events: Path, task: str) -> None:
    found = figures(events, "--task", task)
    assert set(found) >= KEYS | {"task", "positive", "model", "models"}
    served = next(iter(TASKS[task].contenders))
    assert list(found["models"]) == list(dict.fromkeys([served, "weights", "constant", "rule"]))
    assert found["model"] == served
    for model in found["models"].values():
        assert set(model) >= KEYS | {"what", "reliability", "slices"}
        assert sum(each["n"] for each in model["reliability"]) == found["n"]
    assert {key: found["models"][served][key] for key in KEYS} == {key: found[key] for key in KEYS}


def test_the_page_shows_the_models_side_by_side(events: Path) -> None:
    result = call(events, "--task", "dropout", "--model", "rule,constant")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "dropout: nothing comes of the learner in the next 14 days"
    head = next(place for place, line in enumerate(lines) if line.startswith("model"))
    assert [line.split()[0] for line in lines[head + 1 : head + 3]] == ["rule", "constant"]
    assert "rule: no visit for seven days" in lines


def test_labels_say_who_had_dropped_out_and_when_to_ask(events: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    rows = [f"{user},2026-02-{10 + user % 3},{user % 2},c{user % 4}" for user in range(1, 41)]
    labels.write_text("\n".join(["user_id,at,dropped,course", *rows, ""]), encoding="utf-8-sig")
    found = figures(events, "--task", "dropout", "--labels", labels, "--split", "course", "--model", "all")
    asked = found["n"] + found["left_out"].get("without an event by then", 0)
    assert asked == 40
    assert found["models"]["logistic"]["auc"] is not None


def test_a_start_is_asked_about_on_each_of_the_days(events: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "user_id,start,dropped\n" + "".join(f"{one},2026-01-10,{one % 2}\n" for one in range(1, 41))
    )
    found = figures(events, "--task", "dropout", "--labels", labels, "--days", "14,28")
    assert {"day 14", "day 28"} <= set(found["slices"])
    assert set(found["levels"]["low"]["days"]) == {"14", "28"}


def test_oulads_enrolments_are_labels_as_they_are(events: Path, tmp_path: Path) -> None:
    labels = tmp_path / "enrolments.csv"
    labels.write_text(
        "user_id,course,registered_day,withdrawn_day,final_result\n"
        "1,AAA-2025J,-20.0,130.0,Withdrawn\n2,AAA-2025J,-20.0,,Pass\n3,AAA-2025J,150,,Pass\n4,AAA-2025J,,1.0,Fail\n"
    )
    # Day 140 of a course that began on 2025-10-01 is 2026-02-18: 1 and 4 have left, 3 is not there yet.
    found = figures(events, "--task", "dropout", "--labels", labels, "--days", "140")
    assert (found["n"], found["positives"]) == (1, 0)
    # Day 125: 1 leaves within ten days, not within four.
    asked = ("--task", "dropout", "--labels", labels, "--days", "125", "--horizon")
    assert figures(events, *asked, "10")["positives"] == 1
    assert figures(events, *asked, "4")["positives"] == 0


def test_bad_lines_are_named_and_the_rest_is_measured(events: Path, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type":"applause"}\n' + events.read_bytes())
    result = call(path, "--task", "struggle", "--json")
    assert result.exit_code == 1
    assert f"{path}: line 1: " in result.stderr
    assert json.loads(result.stdout)["n"] > 0


def test_bad_lines_of_labels_are_named(events: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("user_id,at,dropped\n1,2026-02-20,1\n2,someday,1\n3,2026-02-20,maybe\n4,2026-02-20,0\n")
    result = call(events, "--task", "dropout", "--labels", labels)
    assert result.exit_code == 1
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == ["line 3", "line 4"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "struggle", "--model", "oracle"], "'oracle' is none of weights"),
        (["--task", "struggle", "--split", "course"], "needs --labels"),
        (["--task", "struggle", "--labels", "LABELS"], "for --task dropout"),
        (["--task", "dropout", "--labels", "LABELS", "--split", "class"], "no column 'class'"),
        (["--task", "dropout", "--model", "logistic"], "needs --split"),
        (["--task", "dropout", "--days", "soon"], "is not a list of days"),
    ],
)
def test_bad_usage_is_said_in_one_line(events: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("user_id,at,dropped\n1,2026-02-20,1\n")
    result = call(events, *[str(labels) if each == "LABELS" else each for each in arguments])
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_file_without_what_is_asked_about_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"type":"session","event_id":"e","user_id":1,"started_at":"2026-03-01T12:00:00Z"}\n')
    result = call(path, "--task", "struggle")
    assert result.exit_code == 1
    assert "nothing to ask about" in result.stderr


def test_the_plot_is_a_diagram_of_every_model(events: Path, tmp_path: Path) -> None:
    target = tmp_path / "reliability.svg"
    assert call(events, "--task", "struggle", "--plot", target).exit_code == 0
    root = ET.fromstring(target.read_text())
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 3
