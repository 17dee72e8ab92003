"""Messages of every version so far, byte by byte: this version reads them, and reads the same."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from lyo.models.engine import Engine
from lyo.models.events.decode import Kind
from lyo.models.interventions.decisions import held_of
from lyo.models.predictions.records import text
from lyo.models.state import layout, layout_1
from lyo.models.state.catalogue import Catalogue
from lyo.models.state.layout import (
    LAYOUT,
    LAYOUTS,
    SWEEP_KEY,
    LayoutError,
    decode_learners,
    decode_skills,
    decode_swept,
)
from lyo.models.state.skill import SKILL
from lyo.storage.sink.records import (
    BY_CONTENT,
    BY_INTERVENTION,
    BY_SKILL,
    BY_USER,
    screen_predictions,
    screen_rows,
)
from lyo.storage.sink.rows import tenant_of
from lyo.tools.contracts.messages import INPUTS, OUTPUTS, VERSION
from tests.support.contract.golden_making import GOLDEN, reads
from tests.support.contract.holding import BY_NAME, faults

FOLDERS = sorted(GOLDEN.glob("v[0-9]*"), key=lambda folder: int(folder.name[1:]))
SUBJECTS = {
    "predictions.dropout-risk": BY_USER,
    "predictions.timing": BY_USER,
    "predictions.plateaus": BY_SKILL,
    "predictions.regressions": BY_SKILL,
    "predictions.struggle": BY_CONTENT,
    "interventions": BY_INTERVENTION,
}
each_version = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
Line = dict[str, Any]


class Rec(NamedTuple):
    """A Kafka record."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    timestamp: int = 0


def lines(folder: Path, name: str) -> list[Line]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def as_record(line: Line) -> Rec:
    return Rec("t", 0, 0, line["key"].encode(), None if line["value"] is None else line["value"].encode())


def stored(folder: Path, topic: str) -> list[tuple[bytes, bytes]]:
    """Stored rows of a topic as keys and bytes."""
    return [
        (line["key"].encode(), base64.b64decode(line["value"]))
        for line in lines(folder, "rows")
        if line["topic"] == topic
    ]


def published(folder: Path, name: str) -> list[tuple[bytes, bytes | None]]:
    """Records of an output's topic as keys and values."""
    records = [as_record(line) for line in lines(folder, "outputs") if line["message"] == name]
    return [(record.key, record.value) for record in records]


# -- a new version has a new folder ------------------------------------------------------------------------


def test_there_is_a_folder_for_every_version_and_rows_of_every_layout_before_the_present_one() -> None:
    assert [folder.name for folder in FOLDERS] == [f"v{n}" for n in range(1, VERSION + 1)]
    versions = [json.loads((folder / "version.json").read_text()) for folder in FOLDERS]
    assert [version["contract"] for version in versions] == list(range(1, VERSION + 1))
    # Those of the present one are made at its release: set VERSION, run tests.support.contract.golden_making.
    assert {version["layout"] for version in versions} | {LAYOUT} == set(LAYOUTS)


@each_version
def test_a_folder_holds_every_message_of_its_version(folder: Path) -> None:
    inputs = {(line["kind"], line["case"]) for line in lines(folder, "inputs")}
    assert inputs >= {(message.kind, case) for message in INPUTS for case in ("minimal", "full", "unknown")}
    outputs = {line["message"] for line in lines(folder, "outputs")}
    assert outputs == {message.name for message in OUTPUTS}
    assert {line["topic"] for line in lines(folder, "rows")} == {"learner-rows", "skill-rows"}
    heads = {base64.b64decode(line["value"])[0] for line in lines(folder, "rows")}
    assert heads == {json.loads((folder / "version.json").read_text())["layout"]}


# -- inputs ------------------------------------------------------------------------------------------------


@each_version
def test_inputs_are_read_as_they_were(folder: Path) -> None:
    for line in lines(folder, "inputs"):
        now = reads(Kind(line["kind"]), line["value"].encode())
        # A later version may understand more, and nothing otherwise.
        assert {name: now[name] for name in line["reads"]} == line["reads"], line["value"]


@each_version
def test_inputs_are_what_the_present_schemas_say(folder: Path) -> None:
    names = {message.kind: message.name for message in INPUTS}
    for line in lines(folder, "inputs"):
        assert faults(names[Kind(line["kind"])], json.loads(line["value"])) == []


# -- outputs -----------------------------------------------------------------------------------------------


@each_version
def test_the_sink_takes_every_prediction_intervention_and_tombstone(folder: Path) -> None:
    for line in lines(folder, "outputs"):
        if line["message"] in SUBJECTS:
            screened = screen_predictions([as_record(line)], SUBJECTS[line["message"]])
            assert screened.refused == []
            assert screened.items[0].user == int(line["key"].partition("|")[0])


@each_version
def test_outputs_decode_with_the_structs_and_the_schemas_of_today(folder: Path) -> None:
    for line in lines(folder, "outputs"):
        if line["value"] is not None:
            assert msgspec.json.decode(line["value"].encode(), type=BY_NAME[line["message"]].shape)
            assert faults(line["message"], json.loads(line["value"])) == []


# -- rows --------------------------------------------------------------------------------------------------


@each_version
def test_rows_say_what_they_said(folder: Path) -> None:
    for line in lines(folder, "rows"):
        value, says = base64.b64decode(line["value"]), line["says"]
        if line["key"].encode() == SWEEP_KEY:
            assert decode_swept(value) == says["swept"]
        elif line["topic"] == "learner-rows":
            [row] = decode_learners([value])
            assert {name: int(row[name]) for name in says} == says
            assert tenant_of(value) == (says["organization"] or None)
        else:
            found, _ = decode_skills([value])
            assert found["user"].tolist() == [says["user"]]


@each_version
def test_the_sink_takes_every_row(folder: Path) -> None:
    for topic, subject in (("learner-rows", BY_USER), ("skill-rows", BY_SKILL)):
        records = [Rec(topic, 0, 0, key, value) for key, value in stored(folder, topic)]
        screened = screen_rows(records, subject)
        assert screened.refused == []
        assert len(screened.items) == sum(record.key != SWEEP_KEY for record in records)


@each_version
def test_a_worker_restores_from_them_and_goes_on(folder: Path) -> None:
    struggle = published(folder, "predictions.struggle")
    users = {line["says"]["user"] for line in lines(folder, "rows") if "user" in line["says"]}
    # Decisions about a learner of whom no row is left would be forgotten at once.
    owner = min(users)
    decided = [
        (b"%d|" % owner + key.partition(b"|")[2], value) for key, value in published(folder, "interventions")
    ]
    engine = Engine(Catalogue())
    engine.load([*stored(folder, "learner-rows")], [*stored(folder, "skill-rows")], struggle, decided)
    engine.loaded()
    current = list(engine.current())
    assert {kind for kind, _, _ in current} >= {"dropout-risk", "timing", "regressions"}
    assert {int(key.partition(b"|")[0]) for _, key, _ in current} == users
    asked = {key for key, value in dict(struggle).items() if value is not None}
    open_ = {
        f"{engine.state.learners.rows['user'][slot]}|{request.content_id}".encode()
        for slot in range(len(engine.state.learners))
        for request in engine.state.requests.open(slot, 0)
    }
    assert asked
    assert open_ >= asked
    learners = engine.state.learners
    assert learners.rows["user"][learners.column("open") != 0].tolist() == [owner], "its decision is open"
    assert engine.due(1 << 62)
    engine.commit(engine.sweep(int(engine.state.learners.rows["newest"].max()) + 5 * 86_400_000))


@each_version
def test_interventions_are_remembered_as_they_were_decided(folder: Path) -> None:
    for key, value in published(folder, "interventions"):
        assert value is not None
        held, says = held_of(value), json.loads(value)
        assert (held.id, held.status, held.raw) == (says["intervention_id"], says["status"], value)
        assert key == f"{says['user_id']}|{held.id}".encode()
        assert held.reason[:2] == (says["audience"], says["type"])
        times = held.not_before, held.expires, held.reason.start
        assert [text(at) for at in times] == [says[n] for n in ("not_before", "expires_at", "episode_start")]


def test_a_layout_that_nobody_knows_is_refused_with_what_to_do() -> None:
    key, value = stored(FOLDERS[-1], "learner-rows")[0]
    assert key
    with pytest.raises(LayoutError, match=r"layout 255.*rebuild the rows from the log"):
        decode_learners([b"\xff" + value[1:]])


def kept_of_skill(value: bytes, number: int) -> list[bytes]:
    """What a skill row of a layout says, without windows and peaks: layout 2 knows others than layout 1."""
    dtype = SKILL if number == LAYOUT else layout_1.SKILL
    row = np.frombuffer(value[1 : 1 + dtype.itemsize], dtype)
    aside = () if number == LAYOUT else ("peak", "regressions")
    found = [value[1 + dtype.itemsize :]]
    for part in (row, row["now"], row["before"]):
        names = [name for name in part.dtype.names or () if name not in {"now", "before", *aside}]
        found += [
            part[name].tobytes() for name in names if number == LAYOUT or not name.startswith("window_")
        ]
    return found


@each_version
def test_rows_are_written_as_they_were(folder: Path) -> None:
    number = json.loads((folder / "version.json").read_text())["layout"]
    if number not in LAYOUTS[-2:]:
        pytest.skip("of a layout that is not written any more")
    for key, value in stored(folder, "learner-rows"):
        if key != SWEEP_KEY:
            assert layout.encode_learners(decode_learners([value]), number) == [(key, value)]
    for key, value in stored(folder, "skill-rows"):
        found, topics = decode_skills([value])
        name = key.partition(b"|")[2].decode()
        [(written_key, written)] = layout.encode_skills(found, [name], topics, number)
        assert written_key == key
        assert kept_of_skill(written, number) == kept_of_skill(value, number)
