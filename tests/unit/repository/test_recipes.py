"""The recipes of CONTRIBUTING.md, followed on a copy of the repository, keep what they promise."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.learners.building import START, Sent, completion, session

ROOT = Path(__file__).parents[3]
RECIPES = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## Recipe: ")[1:]
STEP = re.compile(
    r"^\*\*\d+\. (?P<path>[\w./-]+)\*\*,? (?P<where>\(new|at the end|after|before|instead of)"
    r"(?: `(?P<anchor>[^`]+)`)?[^\n]*:\n\n```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
HOUR, DAY = 3_600_000, 86_400_000


@dataclass(frozen=True)
class Copy:
    """A copy of the repository in which a recipe was followed, and the files that it touched."""

    folder: Path
    touched: frozenset[str]

    def run(self, program: str, *arguments: str) -> str:
        """What a program prints that imports the copy's code, and runs in it."""
        path = os.pathsep.join([str(self.folder / "src"), str(self.folder)])
        ran = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def replayed(self, events: list[Sent]) -> list[dict[str, Any]]:
        """The predictions that the copy's `lyo replay` prints for events."""
        file = self.folder / "events.jsonl"
        file.write_text("".join(json.dumps({"type": kind, **body}) + "\n" for kind, body in events))
        return [json.loads(line) for line in self.run(COMMAND, "replay", str(file)).splitlines()]


COMMAND = "from lyo.cli.main import main; main()"


def copied(folder: Path) -> Path:
    """A copy of what git knows, with the links of src."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, names.stdout.split("\0")):
        if (ROOT / name).exists() or (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def followed(title: str, folder: Path) -> Copy:
    """A copy in which each step of a recipe was done."""
    (recipe,) = (text for text in RECIPES if text.startswith(title))
    steps = list(STEP.finditer(recipe))
    assert len(steps) == recipe.count("```python\n"), "a step is not written as the others are"
    copied(folder)
    for step in steps:
        path, code, anchor = folder / step["path"], step["code"], step["anchor"]
        if step["where"] == "(new":
            assert not path.exists(), step["path"]
            path.write_text(code)
            continue
        text = path.read_text()
        if step["where"] == "at the end":
            path.write_text(text + code)
            continue
        line = f"{anchor}\n"
        assert text.count(f"\n{line}") == 1, f"{step['path']} has not one line {anchor!r}"
        replaced = {"after": line + code, "before": code + line, "instead of": code}[step["where"]]
        path.write_text(text.replace(f"\n{line}", f"\n{replaced}"))
    return Copy(folder, frozenset(step["path"] for step in steps))


def a_month(user: int) -> list[Sent]:
    """A learner's sessions and lessons, on every other day of 40."""
    events = []
    for day in range(0, 40, 2):
        at = START + day * DAY + (8 + day % 5) * HOUR
        events += [session(user, at), completion(user, at + HOUR, "algebra", score=0.7)]
    return events


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a copy goes."""
    return tmp_path / "copy"


# -- change a formula --------------------------------------------------------------------------------------


def test_a_changed_formula_changes_its_own_records_alone_and_names_another_model(
    folder: Path, tmp_path: Path
) -> None:
    events = a_month(1)
    before = Copy(copied(tmp_path / "before"), frozenset()).replayed(events)
    copy = followed("change a formula", folder)
    after = copy.replayed(events)
    assert len(copy.touched) == 1
    changed = {now["type"] for was, now in zip(before, after, strict=True) if was != now}
    assert changed == {"timing"}
    (was,), (now,) = ([each for each in some if each["type"] == "timing"] for some in (before, after))
    assert (was["model"], now["model"]) == ("timing-2", "timing-3")
    assert set(now["peak_hours"]) < set(was["peak_hours"])


# -- add an input topic ------------------------------------------------------------------------------------

INPUT_CHECKS = r"""
import base64, json, sys
from datetime import UTC, datetime
from pathlib import Path
import lyo
from lyo import agents
from lyo.models.events.types import Kind, Practice
from lyo.models.state.layout import decode_learners
from lyo.evaluation.replay import Replay
from lyo.predictive.client.checking import InvalidEvent, record_of
from lyo.streams import metrics
from lyo.streams.runtime.transport import create_app
from lyo.streams.settings import Settings
from lyo.streams.topics import Names, specs
from lyo.tools.contracts.schemas import all_schemas

here = Path.cwd()
assert Path(lyo.__file__).is_relative_to(here), lyo.__file__
assert Names().inputs["lyo.practices"] is Kind.PRACTICE
assert "lyo.practices" in {spec.name for spec in specs(Settings())}
assert "practice" in metrics.INPUTS
app = create_app(Settings())
agents.register(app, lambda _: None)
assert "practices" in {name.rpartition(".")[2] for name in app.agents}
assert all_schemas()["practices"]["properties"]["minutes"]["maximum"] == 240

read = Replay()
read.read(Path(sys.argv[1]), None, None, None)
(row,) = read.engine.state.learners.rows
assert read.bad == 1, "a practice of no length"
assert int(row["minutes"].sum()) == 25, "one of 10 minutes that came twice, and one of 15"
assert int(row["applied"]) == 2

at = datetime(2026, 3, 2, 12, tzinfo=UTC)
given = Practice(user_id=7, event_id="p", occurred_at=at, minutes=10)
assert record_of(given).kind is Kind.PRACTICE
try:
    record_of(Practice(user_id=7, event_id="p", occurred_at=at, minutes=0))
except InvalidEvent as error:
    assert error.field == "minutes"
else:
    raise AssertionError("the client takes what the worker refuses")

kept = [json.loads(line) for line in (here / "tests/contract/golden/v1/rows.jsonl").read_text().splitlines()]
kept = [line for line in kept if "user" in line["says"] and line["topic"] == "learner-rows"]
rows = [base64.b64decode(line["value"]) for line in kept]
assert len(decode_learners(rows)) == len(rows) > 0, "rows from before are read"
"""


def test_an_added_input_topic_is_read_recognised_checked_and_published(folder: Path) -> None:
    copy = followed("add an input topic", folder)
    assert len(copy.touched) <= 6
    practices = [("p1", 10), ("p1", 10), ("p2", 15), ("p3", 0)]
    file = folder / "practices.jsonl"
    said = {"type": "practice", "user_id": 7, "occurred_at": "2026-03-02T12:00:00Z"}
    file.write_text(
        "".join(
            json.dumps({**said, "event_id": name, "minutes": minutes}) + "\n" for name, minutes in practices
        )
    )
    copy.run(INPUT_CHECKS, str(file))
    copy.run(COMMAND, "contracts")
    assert "practices" in (folder / "docs/contracts/asyncapi.json").read_text()
    copy.run(COMMAND, "contracts", "--check")


# -- add a prediction kind ---------------------------------------------------------------------------------

KIND_CHECKS = r"""
import json, sys
from pathlib import Path
import jsonschema
import lyo
import numpy as np
from lyo.evaluation.replay import Replay
from lyo.models.predictions.from_rows import of_values
from lyo.models.predictions.kinds import BY_NAME
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.layout import encode_learners
from lyo.predictive.answers import learner_responses, reading
from lyo.predictive.answers.reading import LearnerQuery, LearnerSnapshot
from lyo.predictive.api.app import openapi
from lyo.storage.schema.prediction_tables import TABLES
from lyo.storage.sink.merges import merge_sql
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.sources import sources
from lyo.storage.sink.writer import Writer
from lyo.streams import metrics
from lyo.streams.settings import Settings
from lyo.streams.topics import Names, specs

here, kind = Path.cwd(), BY_NAME["steadiness"]
assert Path(lyo.__file__).is_relative_to(here), lyo.__file__
assert "lyo.predictions.steadiness" in {spec.name for spec in specs(Settings())}
assert any("predictions.steadiness" in counted.keys for counted in metrics.COUNTED)

plan = Writer(Names(), tenant_of).plans["lyo.predictions.steadiness"]
assert (plan.key, plan.derived) == (("user_id",), frozenset())
assert {"steadiness", "active_days", "prediction_id", "log_offset"} <= set(plan.written)
assert "n.active_days" in merge_sql(plan)
assert sources()["steadiness"].table is TABLES["steadiness"]
(migration,) = here.glob("migrations/versions/*_steadiness.py")
made = migration.read_text()
assert all(f"    {column.name} " in made for column in TABLES["steadiness"].columns)

read = Replay()
read.read(Path(sys.argv[1]), None, None, None)
rows = read.engine.state.learners.rows
(row,) = (value for _, value in encode_learners(rows))
at = read.newest
catalogue = Catalogue()
query = LearnerQuery(1, None, at, at, (kind,))
learner = LearnerSnapshot(query, {"organization_id": None}, False, at, False, catalogue)
reading._compute([learner], of_values([1], [row]))
answer = learner_responses.of_kind(learner, kind)
assert answer["active_days"] == int(sys.argv[2])
assert answer["model"] == "steadiness-1" and answer["stale"] is False and "prediction_id" not in answer
document = openapi()
path = document["paths"]["/api/v1/predictive/steadiness"]["get"]
schema = path["responses"]["200"]["content"]["application/json"]["schema"]
jsonschema.validate(answer, schema | {"components": document["components"]})
assert set(answer) <= set(document["components"]["schemas"]["Steadiness"]["properties"])
print(json.dumps(answer))
"""


def test_an_added_kind_is_on_its_topic_in_contracts_in_the_sinks_plans_and_answered(folder: Path) -> None:
    copy = followed("add a prediction kind", folder)
    assert len(copy.touched) <= 7
    events = a_month(1)
    (record,) = (each for each in copy.replayed(events) if each["type"] == "steadiness")
    assert (record["active_days"], record["steadiness"]) == (14, 0.5)
    assert record["prediction_id"]
    answer = json.loads(copy.run(KIND_CHECKS, str(folder / "events.jsonl"), "14"))
    assert {name: record[name] for name in ("steadiness", "factors", "user_id")} == {
        name: answer[name] for name in ("steadiness", "factors", "user_id")
    }
    copy.run(COMMAND, "contracts")
    schema = json.loads((folder / "docs/contracts/schemas/predictions.steadiness.json").read_text())
    assert set(record) - {"type"} == set(schema["properties"])
    copy.run(COMMAND, "contracts", "--check")
    copy.run("import pytest, sys; sys.exit(pytest.main(['-q', '-x', 'tests/unit/storage/test_merges.py']))")
