"""The broker's own group tool, run as its users run it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from cli.stack import jars
from cli.stack.local import default_home

POM = Path(__file__).with_name("group_tool") / "pom.xml"
TOOL = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"


@dataclass(frozen=True, slots=True)
class Row:
    """What the tool says of a topic-partition; None where it prints a dash."""

    current: int | None
    end: int | None
    lag: int | None
    client: str | None


def tool_jar(cache: Path) -> Path:
    """Kafka's tools, fetched by Maven once."""
    folder = cache / "group-tool"
    found = sorted(folder.glob("jars/kafka-tools-*.jar"))
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pom.xml").write_bytes(POM.read_bytes())
        jars._copy_dependencies(folder)
        found = sorted(folder.glob("jars/kafka-tools-*.jar"))
    return found[0]


def describe(bootstrap_servers: str, group: str) -> dict[tuple[str, int], Row]:
    """`kafka-consumer-groups --describe --group`, by topic and partition."""
    cache = default_home() / "jars"
    path = f"{jars.ensure_jars(cache)}/*:{tool_jar(cache)}"
    arguments = ["--bootstrap-server", bootstrap_servers, "--describe", "--group", group]
    answer = subprocess.run(
        [jars.ensure_java(), "-Xmx128m", "-cp", path, TOOL, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = [line.split() for line in answer.stdout.splitlines() if line.startswith(f"{group} ")]
    assert lines, answer.stdout + answer.stderr
    return {(topic, int(number)): _row(rest) for _, topic, number, *rest in lines}


def _row(said: list[str]) -> Row:
    current, end, lag = (None if word == "-" else int(word) for word in said[:3])
    return Row(current, end, lag, None if said[-1] == "-" else said[-1])
