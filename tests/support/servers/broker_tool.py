"""The broker's own tools, run as their users run them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from lyo.tools.stack import jars
from lyo.tools.stack.java import find_java
from lyo.tools.stack.local import default_home

GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
ACLS = "org.apache.kafka.tools.AclCommand"
CONFIGS = "org.apache.kafka.tools.ConfigCommand"


@dataclass(frozen=True, slots=True)
class Row:
    """What the tool says of a topic-partition; None where it prints a dash."""

    current: int | None
    end: int | None
    lag: int | None
    client: str | None


def describe(bootstrap_servers: str, group: str) -> dict[tuple[str, int], Row]:
    """`kafka-consumer-groups --describe --group`, by topic and partition."""
    out = _run(GROUPS, bootstrap_servers, "--describe", "--group", group)
    lines = [line.split() for line in out.splitlines() if line.startswith(f"{group} ")]
    assert lines, out
    return {(topic, int(number)): _row(rest) for _, topic, number, *rest in lines}


def configure(bootstrap_servers: str, *arguments: str) -> str:
    """`kafka-configs` with these arguments; gives what it printed."""
    return _run(CONFIGS, bootstrap_servers, *arguments)


def allow(bootstrap_servers: str, *arguments: str) -> str:
    """`kafka-acls` with these arguments; gives what it printed."""
    return _run(ACLS, bootstrap_servers, *arguments)


def _run(tool: str, bootstrap_servers: str, *arguments: str) -> str:
    java = [find_java(), "-Xmx128m", "-cp", f"{jars.ensure_jars(default_home() / 'jars')}/*"]
    command = [*java, tool, "--bootstrap-server", bootstrap_servers, *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def _row(said: list[str]) -> Row:
    current, end, lag = (None if word == "-" else int(word) for word in said[:3])
    return Row(current, end, lag, None if said[-1] == "-" else said[-1])
