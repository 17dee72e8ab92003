"""Kafka's jars: copied by Maven, once per content of kafka/pom.xml."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from lyo.tools.stack.server import StackError

JAVA_AT_LEAST = 17


def ensure_java() -> str:
    """The path of a Java that can run Kafka.

    Raises:
        StackError: there is none, or it is too old; says what to install.
    """
    java = shutil.which("java")
    found = "none"
    if java is not None:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
        match = re.search(r'version "(\d+)', answer.stderr)
        if match and int(match[1]) >= JAVA_AT_LEAST:
            return java
        found = match[1] if match else "unknown"
    raise StackError(
        f"Java {JAVA_AT_LEAST} or newer is missing (found: {found}): "
        "install it, e.g. apt-get install openjdk-17-jre-headless"
    )


def jar_folder(cache: Path) -> Path:
    """Where the jars of this version's pom are, or will be."""
    return cache / f"kafka-{hashlib.sha256(_pom()).hexdigest()[:12]}"


def ensure_jars(cache: Path) -> Path:
    """The folder with Kafka's jars under `cache`, filled on first use (about 45 MB).

    Raises:
        StackError: Maven is missing or could not fetch them.
    """
    target = jar_folder(cache)
    if target.is_dir():
        return target
    if shutil.which("mvn") is None:
        raise StackError("Maven is missing: install it, e.g. apt-get install maven")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as scratch:
        project = Path(scratch)
        (project / "pom.xml").write_bytes(_pom())
        _copy_dependencies(project)
        try:
            (project / "jars").rename(target)
        except OSError:
            # Another process was quicker; its jars are as good as ours.
            if not target.is_dir():
                raise
    return target


def _pom() -> bytes:
    return resources.files("lyo.tools.stack").joinpath("kafka/pom.xml").read_bytes()


def _copy_dependencies(project: Path) -> None:
    arguments = ["dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=jars"]
    answer = subprocess.run(
        ["mvn", "--batch-mode", "--no-transfer-progress", "--quiet", *arguments],
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise StackError(f"Maven could not fetch Kafka: {_reason(answer.stdout + answer.stderr)}")


def _reason(output: str) -> str:
    """The first error that Maven names; it colours even what it writes into a pipe."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    errors = [line.removeprefix("[ERROR]").strip() for line in plain.splitlines() if "[ERROR]" in line]
    return next(filter(None, errors), plain.strip()[-300:] or "it gave no reason")
