"""Schemathesis against `lyo api` and a real Postgres: every operation, with all of its checks.

No 5xx, no status, header or content type that OpenAPI does not name, every answer as documented, bad data
refused, good data taken, and nothing without a token. The seed is random and printed.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from lyo.predictive.api.app import openapi
from lyo.streams.settings import Settings
from tests.support.api.client import BASE, ISSUER, api_process, api_settings
from tests.support.learners.stored import LEARNER, TENANT, fill, known

EXAMPLES = 30
LONGEST = 500.0
# A schema cannot say that outcomes lie at most a day in the future; test_answers_outcomes holds them to it.
AS_ASKED = """
[[operations]]
include-operation-id = "predictive_record_outcomes"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "422", "429"]
"""
ABOUT_A_LEARNER_THAT_IS_THERE = f"{AS_ASKED}[parameters]\nuser_id = {LEARNER}\n"


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize(
    ("headers", "config"),
    [
        (ISSUER.learner(LEARNER, TENANT), AS_ASKED),
        (ISSUER.service(TENANT), ABOUT_A_LEARNER_THAT_IS_THERE),
    ],
    ids=["learner", "service"],
)
async def test_the_service_keeps_what_its_openapi_says(
    database_url: str,
    environment: Callable[[Settings], dict[str, str]],
    tmp_path: Path,
    headers: dict[str, str],
    config: str,
) -> None:
    await fill(database_url, known())
    settings = api_settings(database_url, tmp_path / "jwks.json", api_rate_limit="1000000/second")
    settings_file, seed = tmp_path / "schemathesis.toml", random.randrange(2**32)
    settings_file.write_text(config)
    async with api_process(environment(settings), tmp_path / "api.log") as (address, child):
        done = await asyncio.to_thread(
            subprocess.run,
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings_file), "run"),
                *(f"{address}/openapi.json", "-H", f"Authorization: {headers['Authorization']}"),
                *("--checks", "all", "--phases", "examples,coverage,fuzzing", "--continue-on-failure"),
                *("--max-examples", str(EXAMPLES), "--seed", str(seed), "--no-color"),
                # Of texts with a format and a pattern (times) the generator throws many away.
                "--suppress-health-check=filter_too_much",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
            cwd=tmp_path,
        )
        print(f"seed {seed}\n{done.stdout[-8_000:]}")
        assert done.returncode == 0, f"seed {seed}"
        assert "Operations:       14 selected / 14 total" in done.stdout
        assert child.poll() is None
    log = (tmp_path / "api.log").read_text()
    assert " ERROR " not in log
    assert "Traceback" not in log


def test_openapi_is_valid_and_complete() -> None:
    document = openapi()
    validate(document)
    names = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            names.add(operation["operationId"])
            assert operation["summary"]
            assert operation["description"]
            assert {"400", "413"} <= set(operation["responses"])
            if not path.startswith(BASE):
                continue
            assert operation["security"] == [{"token": []}]
            statuses = {"401", "403", "404", "422", "429", "503"}
            statuses |= {"415"} if "requestBody" in operation else set()
            assert statuses <= set(operation["responses"])
            for status, answer in operation["responses"].items():
                kind = "application/json" if status[0] == "2" else "application/problem+json"
                assert list(answer["content"]) == [kind]
            for parameter in operation.get("parameters", []):
                assert parameter["description"]
    assert len(names) == 14
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name


def test_every_answer_has_an_example_that_is_one() -> None:
    document = openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                ((kind, said),) = answer["content"].items()
                place = f"{method} {path} {status} {kind}"
                schema = said["schema"]
                example = said.get("example") or _example_of(schema, document)
                assert example is not None, place
                whole = schema | {"components": document["components"]}
                found = list(Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(example))
                assert found == [], place


def _example_of(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """The example of the model that a schema names, or a list of it."""
    if schema.get("type") == "array":
        item = _example_of(schema["items"], document)
        return None if item is None else [item]
    model = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return model["examples"][0] if "examples" in model else None
