"""The kept corpus of the fuzzer: every input gives a value or a named reason, and nothing else."""

from __future__ import annotations

import pytest

from tests.fuzz.run import CORPUS
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_gives_a_value_or_a_named_reason(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs, "the corpus is gone: python -m tests.fuzz.seeds"
    for path in inputs:
        try:
            TARGETS[name](path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{name} of {path.name}") from error
