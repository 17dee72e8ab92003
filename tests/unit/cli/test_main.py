"""The command line's front door: lazy, and clear when something fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click import ClickException
from click.testing import CliRunner

from lyo.cli import main as front


def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    program = f"import sys; from lyo.cli import main as front\n{code}\nfront.main({list(arguments)!r})"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import atexit\n"
        "atexit.register(lambda: print('LOADED', sorted(m for m in sys.modules if m.startswith('lyo.cli.')),"
        " [m for m in ('faust', 'numpy', 'aiokafka', 'sqlalchemy') if m in sys.modules]))"
    )
    result = run("--help", code=code)
    assert result.returncode == 0, result.stderr
    for name, entry in front.COMMANDS.items():
        assert f"  {name} " in result.stdout
        assert entry.help in result.stdout
    assert "LOADED ['lyo.cli.main'] []" in result.stdout


@pytest.mark.parametrize("name", ["evaluate", "import"])
def test_help_keeps_the_lines_of_a_list(name: str) -> None:
    shown = CliRunner().invoke(front.lyo, [name, "--help"]).stdout
    assert "\\b" not in shown
    first = {"evaluate": "  recall      every repeated", "import": "  kdd2015      KDD Cup"}[name]
    assert any(line.startswith(first) for line in shown.splitlines())


def test_bad_usage_is_two_and_names_the_word() -> None:
    result = run("frobnicate")
    assert result.returncode == 2
    assert "frobnicate" in result.stderr


def test_a_command_that_is_not_there_yet_breaks_no_other() -> None:
    code = "front.COMMANDS['later'] = front.Entry('lyo.cli.later_on:later', 'Later.')"
    missing = run("later", code=code)
    assert missing.returncode == 1
    assert "'lyo later' is not part of this version" in missing.stderr
    assert run("--help", code=code).returncode == 0


def test_a_missing_dependency_of_a_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lyo_broken_on_purpose.py").write_text("import surely_not_installed")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ClickException, match="needs surely_not_installed, which is not installed"):
        front.load("broken", front.Entry("lyo_broken_on_purpose:x", "Broken."))


@pytest.mark.parametrize(("debug", "traceback"), [("", False), ("1", True)])
def test_an_unexpected_error_is_one_line_unless_debugging(debug: str, traceback: bool) -> None:
    code = (
        f"import os; os.environ['LYO_DEBUG'] = {debug!r}\n"
        "def boom(name, entry): raise RuntimeError('the disk\\nis full')\n"
        "front.load = boom"
    )
    result = run("up", code=code)
    assert result.returncode == 1
    assert ("Traceback" in result.stderr) is traceback
    if not traceback:
        assert result.stderr == "Error: the disk is full (RuntimeError)\n"
