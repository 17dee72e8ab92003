"""`lyo import` as a test calls it."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from lyo.cli.files.importing import import_


def call(*arguments: object) -> Result:
    return CliRunner().invoke(import_, [str(argument) for argument in arguments])


def imported(*arguments: object, code: int = 0) -> list[dict[str, Any]]:
    result = call(*arguments)
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]
