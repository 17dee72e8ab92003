"""The API's models are described by the records, and leave none of a whole record's fields out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from lyo.models.predictions import types
from lyo.predictive.answers.responses import INTERNAL
from lyo.predictive.api import schemas


def described(record: type[Any]) -> dict[str, str]:
    """What a record says of its fields."""
    (_, parts) = msgspec.json.schema_components([record])
    properties = parts[record.__name__]["properties"]
    return {name: said["description"] for name, said in properties.items() if "description" in said}


@pytest.mark.parametrize(
    ("model", "record"),
    [
        (schemas.DropoutRisk, types.DropoutRisk),
        (schemas.TimingProfile, types.TimingProfile),
        (schemas.Plateau, types.Plateaus),
        (schemas.Regression, types.Regressions),
        (schemas.StruggleAnswer, types.Struggle),
    ],
)
def test_a_field_means_in_the_api_what_it_means_in_the_record(
    model: type[BaseModel], record: type[types.Prediction]
) -> None:
    meant, properties = described(record), model.model_json_schema()["properties"]
    own = {"as_of", "reason"}  # the API's rows may lag behind, and it may refuse to store an answer
    shared = (meant.keys() & properties.keys()) - own
    assert len(shared) > 5
    assert {name: properties[name]["description"] for name in shared} == {
        name: meant[name] for name in shared
    }


@pytest.mark.parametrize(
    ("model", "record"),
    [(schemas.DropoutRisk, types.DropoutRisk), (schemas.TimingProfile, types.TimingProfile)],
)
def test_no_field_of_a_whole_record_is_left_out(
    model: type[BaseModel], record: type[types.Prediction]
) -> None:
    assert set(record.__struct_fields__) - set(INTERNAL) <= model.model_json_schema()["properties"].keys()
