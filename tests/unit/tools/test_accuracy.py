"""The tables of docs/accuracy.md: each can be made, and making them changes nothing but the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lyo.cli.files.evaluate import evaluate
from lyo.tools.accuracy import commands, with_tables
from lyo.tools.simulation import Plan, generate

DOCUMENT = Path(__file__).parents[3] / "docs" / "accuracy.md"
END = 1_772_323_200_000  # 2026-03-01
SAMPLE = """# A title

<!-- lyo evaluate events.jsonl --task regression | scores, alarms, levels, atend, slices, calibration -->
old
<!-- made -->
Kept.
<!-- lyo evaluate events.jsonl --task timing | hours -->
<!-- made -->
"""


def test_every_command_of_the_document_is_good_usage() -> None:
    found = commands(DOCUMENT.read_text(encoding="utf-8"))
    assert {words[words.index("--task") + 1] for words, _ in found} == {
        "struggle",
        "recall",
        "dropout",
        "timing",
        "plateau",
        "regression",
    }
    for words, _ in found:
        result = CliRunner().invoke(evaluate, [*words[2:], "--help"])
        assert result.exit_code == 0, words


def test_tables_are_made_anew_and_nothing_else_changes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(generate(Plan(30, 60, 3, END, 0.0, 1))))

    def run(words: list[str]) -> dict[str, Any]:
        arguments = [str(path) if word == "events.jsonl" else word for word in words[2:]]
        result = CliRunner().invoke(evaluate, [*arguments, "--json"])
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    once = with_tables(SAMPLE, run)
    lines = once.splitlines()
    assert "old" not in lines
    assert "Kept." in lines
    assert [line for line in lines if line.startswith("<!--")] == [
        line for line in SAMPLE.splitlines() if line.startswith("<!--")
    ]
    for head in (
        "| model | AUC |",
        "| alarm of |",
        "| level | n |",
        "| at the end of the file |",
        "| slice |",
    ):
        assert any(line.startswith(head) for line in lines), head
    tables = [line.count("|") for line in lines if line.startswith("|")]
    assert min(tables) >= 4
    assert with_tables(once, run) == once
    assert with_tables(once, lambda _words: None) == once


@pytest.mark.parametrize(
    "document",
    ["<!-- lyo evaluate a.gz | scores -->\n", "<!-- lyo evaluate a.gz | tea -->\n<!-- made -->\n"],
)
def test_a_table_that_cannot_be_made_is_named(document: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        commands(document)
