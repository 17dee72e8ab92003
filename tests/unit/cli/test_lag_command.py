"""`lyo lag` where nothing answers."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from lyo.cli.operations.lag import lag


def test_why_nothing_is_known_is_said_before_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYO_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("LYO_DATABASE_URL", "postgresql://postgres@127.0.0.1:1/nowhere")
    told = CliRunner().invoke(lag, ["--observe", "0", "--busy"])
    assert told.exit_code == 1
    reason, table = told.output.find("Error: Kafka did not answer: "), told.output.find("group ")
    assert 0 <= reason < table
    assert "Postgres did not answer: " in told.output[reason:table]
    assert "Error: " not in told.output[table:]
