"""Model files: read as they were written, and refused with the field to blame."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lyo.models.formulas.dropout import MODEL
from lyo.streams.model_files import encode, read_hazard
from lyo.streams.settings import load_settings
from tests.support.learners.fitted_hazards import FITTED_ON, model_file, shifted

Change = Callable[[dict[str, Any]], Any]


def test_coefficients_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = model_file(tmp_path / "model.json", 1.5)
    wanted = shifted(1.5)
    for name in ("reference", "intercepts", "weights"):
        assert np.abs(getattr(found, name) - getattr(wanted, name)).max() <= 5e-7
    assert found.model.startswith(f"{MODEL}+")
    assert len(found.model) <= 50


def test_the_version_is_that_of_the_coefficients_and_of_nothing_else(tmp_path: Path) -> None:
    first = model_file(tmp_path / "a.json", 1.5)
    assert model_file(tmp_path / "b.json", 1.500001).model != first.model
    other = msgspec.structs.replace(FITTED_ON, n=99)
    (tmp_path / "c.json").write_bytes(encode(shifted(1.5), other))
    assert read_hazard(tmp_path / "c.json").model == first.model


def negative(found: dict[str, Any]) -> None:
    found["terms"]["silence"]["weights"][1] = -0.1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.update(name="dropout-hazard-0"), "name: "),
        (lambda found: found.update(horizons=[7, 14]), "name: "),
        (lambda found: found["terms"].pop("gap"), "terms: 'gap'"),
        (lambda found: found["terms"].update(age=found["terms"]["gap"]), "terms: 'age'"),
        (lambda found: found["intercepts"].pop(), "intercepts: 2 numbers"),
        (lambda found: found["intercepts"].__setitem__(0, 1e9), "intercepts: "),
        (lambda found: found["terms"]["gap"].update(weights=["1", 2, 3]), "$.terms[...].weights[0]"),
        (lambda found: found["terms"]["gap"].update(reference=None), "$.terms[...].reference"),
        (lambda found: found.pop("fitted_on"), "fitted_on"),
        (negative, "terms.silence.weights: -0.1 is negative"),
        (lambda found: found["intercepts"].__setitem__(0, 0.25), "version: "),
    ],
)
def test_what_cannot_be_served_is_refused_by_its_field(tmp_path: Path, change: Change, said: str) -> None:
    path = tmp_path / "model.json"
    model_file(path, 0.5)
    found = json.loads(path.read_bytes())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        read_hazard(path)
    assert said in str(refused.value)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"name": 1}'])
def test_a_process_that_cannot_read_its_model_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = tmp_path / "model.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("LYO_DROPOUT_MODEL", str(path))
    with pytest.raises(SystemExit) as ended:
        load_settings()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lyo: bad setting LYO_DROPOUT_MODEL: ")


def test_an_empty_setting_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYO_DROPOUT_MODEL", "")
    assert load_settings().dropout_model is None
