"""The programs of docs/publishing.md run as they are, and what they publish is what the worker takes."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord

from lyo.models.events.decode import Kind, decode, partition
from lyo.streams import topic_admin, topics
from lyo.streams.settings import Settings
from tests.support.processes import Environment
from tests.support.worker.running import read

DOCS = Path(__file__).parents[2] / "docs"


async def run(settings: Settings, environment: Environment, name: str, *arguments: str) -> list[str]:
    """Run an example as its docstring says, and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(DOCS / "examples" / name),
        *arguments,
        env=environment(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode().splitlines()


async def taken(settings: Settings, kind: Kind) -> list[ConsumerRecord]:
    """The records of a topic, after they were read as the worker does."""
    records = await read(settings, topics.names(settings).topic(kind))
    _, rejected = decode(
        kind,
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
    )
    assert rejected == []
    assert [r.partition for r in records] == [partition(int(r.key), settings.partitions) for r in records]
    return records


@pytest.mark.integration
async def test_the_clients_example(kafka_settings: Settings, environment: Environment) -> None:
    await topic_admin.ensure(kafka_settings)
    said = await run(kafka_settings, environment, "publish_events.py")
    assert re.match(r"lesson completion [0-9a-f-]{36} is at \S+lesson-completions/[0-3]/0$", said[0])
    assert said[1:] == ["500 more are acknowledged", "refused: sentiment: expected float <= 1.0"]
    assert len(await taken(kafka_settings, Kind.LESSON_COMPLETION)) == 501
    assert len(await taken(kafka_settings, Kind.SESSION)) == 1
    assert len(await taken(kafka_settings, Kind.PREFERENCES)) == 1
    assert await taken(kafka_settings, Kind.SENTIMENT) == []


@pytest.mark.integration
async def test_the_example_without_the_client(kafka_settings: Settings, environment: Environment) -> None:
    await topic_admin.ensure(kafka_settings)
    topic = topics.names(kafka_settings).topic(Kind.SENTIMENT)
    said = await run(kafka_settings, environment, "publish_raw.py", kafka_settings.bootstrap_servers, topic)
    [record] = await taken(kafka_settings, Kind.SENTIMENT)
    assert said == [f"sentiment is at {topic}/{record.partition}/0"]


def test_what_the_page_links_to_is_there() -> None:
    text = (DOCS / "publishing.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert len(links) > 6
    assert [link for link in links if not (DOCS / link).exists()] == []
