"""Coverage-guided fuzzing of the decoders: ``python -m tests.fuzz.run [TARGET...]``, FUZZ_SECONDS each.

With the option ``--keep`` the shortest inputs that covered something new join ``tests/fuzz/corpus``. A
failing input is written to ``tests/fuzz/corpus/TARGET/crash-...``, where the unit tests find it again.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).resolve().parent / "corpus"
LONGEST = 2_000
KEPT = 20


def main() -> None:
    """Fuzz the targets named, or all of them, one process each."""
    names = [name for name in sys.argv[1:] if not name.startswith("--")]
    if "--inside" in sys.argv:
        _inside(names[0], sys.argv[sys.argv.index("--inside") + 1 :])
        return
    seconds = os.environ.get("FUZZ_SECONDS", "20")
    failed = []
    for name in names or sorted(folder.name for folder in CORPUS.iterdir()):
        with tempfile.TemporaryDirectory() as new:
            bounds = [
                f"-max_total_time={seconds}",
                f"-max_len={LONGEST}",
                "-timeout=10",
                "-rss_limit_mb=2048",
            ]
            found = _fuzz(name, new, str(CORPUS / name), f"-artifact_prefix={CORPUS / name}/", *bounds)
            if found:
                failed.append(name)
            elif "--keep" in sys.argv:
                _keep(name, Path(new))
    if failed:
        sys.exit(f"found something: {', '.join(failed)}; see {CORPUS}/*/crash-*")


def _keep(name: str, new: Path) -> None:
    """Keep the shortest of what was found: libFuzzer writes down only what covers more than all before."""
    found = sorted(new.iterdir(), key=lambda path: (path.stat().st_size, path.name))
    for path in found[:KEPT]:
        (CORPUS / name / path.name).write_bytes(path.read_bytes())


def _fuzz(name: str, *arguments: str) -> int:
    command = [sys.executable, "-m", "tests.fuzz.run", name, "--inside", *arguments]
    return subprocess.run(command, check=False).returncode


def _inside(name: str, arguments: list[str]) -> None:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["lyo"]):
        targets = importlib.import_module("tests.fuzz.targets")
    atheris.Setup([sys.argv[0], *arguments], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
