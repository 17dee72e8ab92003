"""A model that says something else has another name: by it workers know what they have to send anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyo.models.predictions.kinds import BY_NAME, KINDS, PredictionKind
from tests.support.contract import model_digests
from tests.support.learners.changed_formulas import CHANGES

COMMAND = "python -m tests.support.contract.model_digests"


@pytest.fixture(scope="module")
def computed() -> dict[str, str]:
    return model_digests.computed()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_model_says_what_it_said_under_its_name(kind: PredictionKind, computed: dict[str, str]) -> None:
    known = model_digests.known()
    assert kind.model in known, f"{kind.model} is new: {COMMAND} adds it to the table"
    assert computed[kind.model] == known[kind.model], (
        f"{kind.model} says something else than before: give MODEL in models/formulas another version, "
        f"then run {COMMAND}"
    )


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_constant_is_seen(
    kind: str, monkeypatch: pytest.MonkeyPatch, computed: dict[str, str]
) -> None:
    monkeypatch.setattr(*CHANGES[kind])
    changed = model_digests.computed()
    assert {name for name in computed if computed[name] != changed[name]} == {BY_NAME[kind].model}


def test_the_digest_under_a_name_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(model_digests, "TABLE", tmp_path / "models.json")
    monkeypatch.setattr(model_digests, "computed", lambda: {"a-1": "old"})
    model_digests.main(set())
    monkeypatch.setattr(model_digests, "computed", lambda: {"a-1": "new", "b-1": "b"})
    with pytest.raises(SystemExit, match="a-1: says something else"):
        model_digests.main(set())
    assert model_digests.known() == {"a-1": "old"}
    model_digests.main({"a-1"})
    assert model_digests.known() == {"a-1": "new", "b-1": "b"}
