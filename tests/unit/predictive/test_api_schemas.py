"""The API's models are described by the records, and leave none of a whole record's fields out."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta
from pydantic import BaseModel

from lyo.models.predictions import types
from lyo.predictive.answers.responses import left_out
from lyo.predictive.api import examples, schemas
from lyo.predictive.api.fields import of_record


def described(record: type[Any]) -> dict[str, str]:
    """What a record says of its fields."""
    (_, parts) = msgspec.json.schema_components([record])
    properties = parts[record.__name__]["properties"]
    return {name: said["description"] for name, said in properties.items() if "description" in said}


ANSWERS = pytest.mark.parametrize(
    ("model", "record"),
    [
        (schemas.DropoutRisk, types.DropoutRisk),
        (schemas.TimingProfile, types.TimingProfile),
        (schemas.Plateau, types.Plateaus),
        (schemas.Regression, types.Regressions),
        (schemas.StruggleAnswer, types.Struggle),
    ],
)


@ANSWERS
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


@ANSWERS
def test_no_field_that_answers_have_is_left_out(
    model: type[BaseModel], record: type[types.Prediction]
) -> None:
    properties = model.model_json_schema()["properties"].keys()
    assert set(record.__struct_fields__) - left_out(record) <= properties
    assert properties & left_out(record) == set()


class Longer(types.DropoutRisk, frozen=True, kw_only=True, gc=False):
    """A later version's record."""

    patience: Annotated[types.Hundredths | None, Meta(description="How long they wait.")] = None


def test_a_new_field_of_a_record_is_one_of_the_answer_without_another_edit() -> None:
    model = of_record(Longer, specified=examples.DROPOUT_RISK)(schemas.Computed)
    schema = model.model_json_schema()
    assert schema["properties"]["patience"]["description"] == "How long they wait."
    assert {"type": "number", "minimum": 0, "maximum": 1} in schema["properties"]["patience"]["anyOf"]
    assert "patience" not in schema["required"]
