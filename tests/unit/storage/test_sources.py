"""What a subscriber follows: every table that the sink merges predictions or decisions into."""

from __future__ import annotations

import pytest

from lyo.storage.sink.merges import PLANS
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.sources import Source, chosen, sources
from lyo.storage.sink.writer import Writer
from lyo.streams.topics import Names


def test_every_topic_with_a_plan_is_followed() -> None:
    writer = Writer(Names("x."), tenant_of)
    assert {f"x.{source.topic}" for source in sources().values()} == set(writer.plans)
    assert set(PLANS) <= set(sources())


@pytest.mark.parametrize("source", sources().values(), ids=sources().keys())
def test_a_followed_table_has_what_a_cursor_needs(source: Source) -> None:
    columns = set(source.table.columns.keys())
    assert {"id", "user_id", "organization_id", "log_partition", "log_offset"} <= columns
    assert set(source.key) <= columns
    assert not source.subject or source.subject in source.key
    indexed = [tuple(column.name for column in index.columns) for index in source.table.indexes]
    assert ("log_partition", "log_offset", "id") in indexed


def test_kinds_are_chosen_by_name_and_once() -> None:
    assert [source.kind for source in chosen(["timing", "struggle", "timing"])] == ["timing", "struggle"]
    assert len(chosen(None)) == len(sources())
    with pytest.raises(ValueError, match=r"no kind 'a', 'b'; there are dropout-risk, "):
        chosen(["a", "timing", "b"])
