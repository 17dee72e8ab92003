"""`make lock`: writes kafka/jars.lock from kafka/jars.in, for a new version of Kafka."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lyo.tools.stack.jars import maven

if TYPE_CHECKING:
    from jgo.maven import Dependency, MavenContext

FOLDER = Path(__file__).with_name("kafka")
ALONE = "alone"  # behind coordinates: without their dependencies
HEADER = "# The local Kafka's jars: Maven coordinates and SHA-256. `make lock` writes this from jars.in.\n"


def coordinates(text: str) -> tuple[list[str], list[str]]:
    """The coordinates in the text of jars.in: those to resolve with their dependencies, and those without."""
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return (
        [words[0] for words in lines if ALONE not in words[1:]],
        [words[0] for words in lines if ALONE in words[1:]],
    )


def resolve(context: MavenContext, resolved: Sequence[str], alone: Sequence[str]) -> list[Dependency]:
    """Every jar that these need at run time, in the versions that Maven would choose."""
    # `!` means raw. Without it jgo also reads each as a bill of materials, and versions from log4j's build
    # (kafka-clients 3.9.1) replace those that Kafka asks for.
    roots = [context.create_dependency(f"{jar}!") for jar in resolved]
    inputs, others = context.resolver.resolve(roots)
    return [*inputs, *others, *(context.create_dependency(jar) for jar in alone)]


def lock(context: MavenContext, text: str) -> str:
    """The text of jars.lock for that of jars.in; downloads every jar."""
    lines = set()
    for jar in resolve(context, *coordinates(text)):
        sha256 = hashlib.sha256(jar.artifact.resolve().read_bytes()).hexdigest()
        lines.add(f"{jar.groupId}:{jar.artifactId}:{jar.version} {sha256}\n")
    return HEADER + "".join(sorted(lines))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        text = lock(maven(Path(cache)), (FOLDER / "jars.in").read_text())
    (FOLDER / "jars.lock").write_text(text)
