"""The plans that turn records into rows name every column once."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import UniqueConstraint

from lyo.models.predictions.kinds import BY_NAME
from lyo.models.state.layout import encode_learners
from lyo.models.state.learner import LEARNER
from lyo.storage.schema.tables import (
    HISTORY_TABLES,
    PREDICTION_TABLES,
    REBUILT_TABLES,
    STREAM_TABLES,
    erasure_fences,
    metadata,
    outbox,
    watermarks,
)
from lyo.storage.sink.merges import INTERVENTIONS, PLANS, Plan, delete_sql, merge_sql
from lyo.storage.sink.rows import tenant_of


def test_every_kind_of_prediction_has_its_table() -> None:
    assert set(PLANS) == set(BY_NAME)
    assert {plan.table for plan in PLANS.values()} == set(PREDICTION_TABLES)


@pytest.mark.parametrize("plan", [*PLANS.values(), INTERVENTIONS], ids=[*PLANS, "interventions"])
def test_a_plan_names_columns_of_its_table(plan: Plan) -> None:
    columns = set(plan.table.columns.keys())
    assert set(plan.key) | plan.derived | set(plan.computed) <= columns
    assert plan.derived.isdisjoint(plan.computed)
    assert set(plan.written) | plan.derived | {"id"} == columns
    unique = [set(c.columns.keys()) for c in plan.table.constraints if isinstance(c, UniqueConstraint)]
    assert unique == [set(plan.key)]


@pytest.mark.parametrize("plan", [*PLANS.values(), INTERVENTIONS], ids=[*PLANS, "interventions"])
def test_outcome_columns_are_never_written_from_a_record(plan: Plan) -> None:
    statement = merge_sql(plan)
    for name in plan.derived:
        assert f" {name} " not in statement.replace(",", " ").replace("(", " ").replace(")", " ")
    assert "t.log_offset < k.log_offset" in delete_sql(plan)


def test_what_is_rebuilt_is_everything_but_history_the_outbox_and_what_subscribers_need() -> None:
    assert set(metadata.tables.values()) - set(REBUILT_TABLES) == {
        outbox,
        erasure_fences,
        watermarks,
        *HISTORY_TABLES,
        *STREAM_TABLES,
    }


def test_the_organization_is_read_from_a_learners_row() -> None:
    rows = np.zeros(2, LEARNER)
    rows["user"], rows["organization"] = (1, 2), (2**62, 0)
    values = [value for _, value in encode_learners(rows)]
    assert [tenant_of(value) for value in values] == [2**62, None]


@pytest.mark.parametrize(
    "value", [b"", b"\x63", bytes([99]) + bytes(LEARNER.itemsize), bytes([1]) + bytes(8)]
)
def test_a_row_of_another_layout_is_of_no_organization_yet(value: bytes) -> None:
    assert tenant_of(value) is None
