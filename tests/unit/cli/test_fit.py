"""`lyo fit`: a model file from event files, measured by `lyo evaluate` and used by `lyo replay`."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lyo.cli.files.evaluate import evaluate
from lyo.cli.files.fit import fit
from lyo.cli.files.replay import replay
from lyo.streams.model_files import read_hazard
from lyo.tools.simulation import Plan, generate
from tests.support.learners.fitted_hazards import model_file

END = 1_772_323_200_000  # 2026-03-01


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    path.write_bytes(b"".join(generate(Plan(200, 120, 3, END, 0.0, 1))))
    return path


@pytest.fixture(scope="module")
def fitted(events: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The model file of a fit on weeks, and what was printed."""
    out = tmp_path_factory.mktemp("model") / "dropout.json"
    result = call(events, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(fit, [str(argument) for argument in arguments])


def labels(path: Path, dropped: str = "1") -> Path:
    """Every third learner has dropped out, of courses in turn."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "start", "dropped", "course"])
        for user in range(1, 201):
            rows.writerow([user, "2026-01-10", dropped if user % 3 == 0 else 0, f"c{user % 4}"])
    return path


def test_held_out_figures_stand_beside_the_shipped_model_and_a_constant(
    fitted: tuple[Path, dict[str, Any]],
) -> None:
    _, said = fitted
    outcomes = [found["outcome"] for found in said["held_out"]]
    assert outcomes == ["silent for 7 days", "silent for 14 days", "silent for 28 days"]
    for found in said["held_out"]:
        ours, constant = found["models"]["fitted"], found["models"]["constant"]
        assert set(found["models"]) == {"fitted", "shipped", "constant"}
        assert ours["auc"] > 0.7
        assert ours["log_loss"] < constant["log_loss"]
        assert ours["mean"] == pytest.approx(found["positives"] / found["n"], abs=0.03)
        assert sum(each["n"] for each in ours["reliability"]) == found["n"]


def test_the_file_says_what_it_was_fitted_on_and_names_no_path(
    fitted: tuple[Path, dict[str, Any]], events: Path
) -> None:
    out, said = fitted
    assert read_hazard(out).model == said["model"]
    text = out.read_text()
    assert str(events.parent) not in text
    assert events.name not in text
    found = json.loads(text)["fitted_on"]
    assert found["files"] == [hashlib.sha256(events.read_bytes()).hexdigest()]
    assert found["n"] == said["held_out"][0]["n"]
    assert found["positives"]["silent for 7 days"] == said["held_out"][0]["positives"]
    assert 150 < found["learners"] <= 200
    assert "2025-11-01" < found["first"] < found["last"] < "2026-02-02"
    assert not out.with_name(f"{out.name}.part").exists()


def test_the_same_events_give_the_same_model(
    fitted: tuple[Path, dict[str, Any]], events: Path, tmp_path: Path
) -> None:
    assert call(events, "--out", tmp_path / "again.json").exit_code == 0
    assert (tmp_path / "again.json").read_bytes() == fitted[0].read_bytes()


def test_dates_choose_the_moments(events: Path, tmp_path: Path) -> None:
    out = tmp_path / "part.json"
    result = call(events, "--out", out, "--since", "2025-12-01", "--until", "2026-01-15")
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())["fitted_on"]
    assert "2025-12-01" <= found["first"] < "2025-12-10"
    assert "2026-01-05" < found["last"] < "2026-01-15"


def test_labels_are_fitted_as_they_are_and_shown_by_day(events: Path, tmp_path: Path) -> None:
    out = tmp_path / "labelled.json"
    given = labels(tmp_path / "labels.csv")
    result = call(events, "--out", out, "--labels", given, "--split", "course", "--days", "7,21", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["held_out"]
    assert [each["outcome"] for each in found] == ["dropped", "dropped, day 7", "dropped, day 21"]
    assert (
        json.loads(out.read_text())["fitted_on"]["labels"] == hashlib.sha256(given.read_bytes()).hexdigest()
    )
    page = call(events, "--out", out, "--labels", given, "--split", "course", "--days", "7,21").stdout
    assert "dropped, day 21" in page
    assert page.splitlines()[0].startswith(read_hazard(out).model)


def test_the_file_is_measured_beside_other_models(fitted: tuple[Path, dict[str, Any]], events: Path) -> None:
    out, _ = fitted
    asked = [str(events), "--task", "dropout", "--model", f"{out},hazard,constant", "--json"]
    result = CliRunner().invoke(evaluate, asked)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["models"]
    assert list(found) == [str(out), "hazard", "constant"]
    assert found[str(out)]["log_loss"] < found["hazard"]["log_loss"]
    assert found[str(out)]["levels"].keys() == found["hazard"]["levels"].keys()


def test_replay_computes_with_the_file_and_says_so(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_file(tmp_path / "model.json", 2.0)
    asked = [str(events), "--at", "2025-12-20T00:00:00Z"]

    def risks(*more: str) -> dict[int, Any]:
        result = CliRunner().invoke(replay, [*asked, *more])
        assert result.exit_code == 0, result.output
        found = [json.loads(line) for line in result.stdout.splitlines() if '"type":"dropout-risk"' in line]
        return {one["user_id"]: one for one in found}

    shipped, served = risks(), risks("--weights", str(tmp_path / "model.json"))
    assert {one["model"] for one in served.values()} == {model.model}
    known = [user for user, one in shipped.items() if one["probability_14d"] is not None]
    assert len(known) > 20
    assert all(served[user]["probability_14d"] >= shipped[user]["probability_14d"] for user in known)
    assert any(served[user]["probability_14d"] > shipped[user]["probability_14d"] for user in known)
    monkeypatch.setenv("LYO_DROPOUT_MODEL", str(tmp_path / "model.json"))
    assert risks() == served


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("user_id,start,dropped\n1,2026-01-10,maybe\n", "line 2: dropped: 'maybe'"),
        ("user_id,start,gone\n1,2026-01-10,1\n", "labels need user_id, dropped and at or start"),
        ("user_id,start,dropped\n1,2026-01-10,1\n2,2026-01-10,0\n", "and 10 are needed both of these and of"),
    ],
)
def test_labels_that_cannot_be_fitted_are_refused(
    events: Path, tmp_path: Path, content: str, said: str
) -> None:
    given = tmp_path / "labels.csv"
    given.write_text(content)
    result = call(events, "--out", tmp_path / "model.json", "--labels", given)
    assert result.exit_code != 0
    assert said in result.stderr
    assert not (tmp_path / "model.json").exists()


def test_bad_lines_of_labels_are_named_and_the_rest_is_fitted(events: Path, tmp_path: Path) -> None:
    given = labels(tmp_path / "labels.csv")
    given.write_text(given.read_text() + "201,someday,1,c1\n")
    result = call(events, "--out", tmp_path / "model.json", "--labels", given)
    assert result.exit_code == 1
    assert f"{given}: line 202: " in result.stderr
    assert (tmp_path / "model.json").exists()


def test_events_too_short_to_know_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(generate(Plan(10, 20, 3, END, 0.0, 1))))
    result = call(path, "--out", tmp_path / "model.json")
    assert result.exit_code == 1
    assert "28 days after them must be in the files" in result.stderr.splitlines()[-1]


def test_a_file_that_cannot_be_written_is_said_by_its_option(events: Path, tmp_path: Path) -> None:
    result = call(events, "--out", tmp_path / "nowhere" / "model.json")
    assert result.exit_code == 1
    assert "--out: " in result.stderr


@pytest.mark.parametrize(
    ("command", "option"), [(evaluate, ["--task", "dropout", "--model"]), (replay, ["--weights"])]
)
def test_a_model_that_cannot_be_used_is_bad_usage(
    events: Path, tmp_path: Path, command: Any, option: list[str]
) -> None:
    path = tmp_path / "model.json"
    path.write_text('{"name": "dropout-hazard-2"}')
    result = CliRunner().invoke(command, [str(events), *option, str(path)])
    assert result.exit_code == 2
    assert option[-1] in result.stderr
    assert "`version`" in result.stderr


def test_a_model_of_dropout_answers_nothing_else(events: Path, fitted: tuple[Path, dict[str, Any]]) -> None:
    result = CliRunner().invoke(evaluate, [str(events), "--task", "struggle", "--model", str(fitted[0])])
    assert result.exit_code == 2
    assert "model files are for --task dropout" in result.stderr
