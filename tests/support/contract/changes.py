"""What test_compatibility.py and test_compatibility_outputs.py share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from lyo.tools.contracts.compatibility import breaks
from lyo.tools.contracts.schemas import FILE_LINE, all_schemas
from tests.support.contract.holding import BY_NAME

SCHEMAS = all_schemas()


Schema = dict[str, Any]


def change(name: str, do: Callable[[Schema], object]) -> list[str]:
    """What breaks when one schema is changed."""
    new = copy.deepcopy(SCHEMAS[name])
    do(new)
    inbound = name == FILE_LINE or BY_NAME[name].inbound
    return breaks(SCHEMAS[name], new, inbound=inbound)


def drop(schema: Schema, field: str) -> None:
    """Remove a field, as a careless edit of a struct does."""
    del schema["properties"][field]
    schema["required"] = [name for name in schema["required"] if name != field]
