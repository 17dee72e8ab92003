"""No file, no function and no folder is too long to be seen whole."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LONGEST_FILE, LONGEST_FUNCTION, MOST_MODULES = 350, 50, 15


def python_files() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in filter(None, names.stdout.split("\0")) if (ROOT / name).is_file()]


FILES = python_files()


def too_long(path: str, text: str) -> Iterator[str]:
    """What of a module goes over the limits."""
    if (lines := text.count("\n")) > LONGEST_FILE:
        yield f"{path}: {lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{path}: {node.name} has {length} lines"


def test_no_file_and_no_function_is_too_long() -> None:
    assert len(FILES) > 500
    found = [line for file in FILES for line in too_long(str(file.relative_to(ROOT)), file.read_text())]
    assert found == []


def test_no_folder_has_too_many_modules() -> None:
    modules = Counter(file.parent for file in FILES if file.name != "__init__.py")
    assert {str(folder) for folder, count in modules.items() if count > MOST_MODULES} == set()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n" * 350, []),
        ("x = 1\n" * 351, ["m.py: 351 lines"]),
        ("def f():\n" + "    x = 1\n" * 49, []),
        ("class C:\n    async def f():\n" + "        x = 1\n" * 50, ["m.py: f has 51 lines"]),
    ],
)
def test_the_limits_are_what_they_say(text: str, said: list[str]) -> None:
    assert list(too_long("m.py", text)) == said
