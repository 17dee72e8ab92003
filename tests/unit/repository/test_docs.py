"""What the documents name exists: tests, files, links, settings, commands; the settings' table is current."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest

from lyo.cli.main import COMMANDS
from lyo.cli.operations.settings import as_markdown
from lyo.streams.settings_reference import reference

ROOT = Path(__file__).parents[3]
PAGES = sorted(path for path in chain(ROOT.glob("*.md"), (ROOT / "docs").rglob("*.md")))
TESTS = list((ROOT / "tests").rglob("*.py"))
NAMES = set(re.findall(r"def (test_\w+)\(", "".join(path.read_text() for path in TESTS)))
TOP_LEVEL = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
NOT_SETTINGS = {
    "LYO_HOME",
    "LYO_MAVEN_REPOSITORY",
    "LYO_DEBUG",
    "LYO_TEST",
    "LYO_IMAGE",
    "LYO_TEST_ADVISORIES",
}


def texts(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_there_are_pages() -> None:
    assert {"README.md", "CHANGELOG.md"} <= {page.name for page in PAGES}
    assert len(NAMES) > 300


def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"`(test_\w+)`", texts(page)))
    assert named <= NAMES
    assert set(re.findall(r"`(test_\w+\.py)`", texts(page))) <= {path.name for path in TESTS}


def test_every_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", texts(page))
    missing = [one for one in targets if "://" not in one and not (page.parent / one).exists()]
    assert missing == []


def test_every_path_in_code_marks_exists(page: Path) -> None:
    named = re.findall(r"`([\w./-]+/[\w./-]*)`", texts(page))
    ours = [one for one in named if one.split("/")[0] in TOP_LEVEL]
    assert [one for one in ours if not (ROOT / one).exists()] == []


def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    known = {one.variable for one in reference()} | NOT_SETTINGS
    assert set(re.findall(r"\bLYO_[A-Z]+(?:_[A-Z]+)*\b", texts(page))) <= known


def test_every_command_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"(?:`|^\$ |\n\$ |&& )(?:\.venv/bin/)?lyo ([a-z]+)", texts(page)))
    assert named <= set(COMMANDS)


def test_the_table_of_settings_is_current() -> None:
    assert texts(ROOT / "docs" / "settings.md") == as_markdown(reference())


def test_every_setting_says_what_it_is() -> None:
    assert [one.variable for one in reference() if len(one.description) < 10] == []


def decision_rows() -> list[tuple[str, str]]:
    """Number (or link) and status of each line of the index of decisions."""
    index = texts(ROOT / "docs" / "decisions" / "README.md")
    return re.findall(r"^\| (\[?\d{3}\S*) \| .+ \| (.+) \|$", index, flags=re.MULTILINE)


def test_the_index_of_decisions_lists_exactly_the_files_of_the_folder() -> None:
    files = sorted(path.name for path in (ROOT / "docs" / "decisions").iterdir() if path.name != "README.md")
    assert [number for number, _ in decision_rows() if number.startswith("[")] == [
        f"[{name[:3]}]({name})" for name in files
    ]


def test_every_decision_has_its_own_number_and_a_status() -> None:
    numbers = [re.sub(r"\D.*", "", number.lstrip("[")) for number, _ in decision_rows()]
    assert numbers == sorted(set(numbers))
    pattern = r"current|superseded by \[\d{3}\]\(\S+\)|reference, moved to \[(\S+)\]\(\.\./\1\)"
    assert [status for _, status in decision_rows() if re.fullmatch(pattern, status) is None] == []
    moved = [number for number, status in decision_rows() if status.startswith("reference")]
    assert [number for number in moved if number.startswith("[")] == []
