"""Other clients put a learner's record where we do, with the setting that docs/publishing.md names."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lyo.models.events.decode import Kind, partition
from lyo.streams import topic_admin, topics
from lyo.streams.settings import Settings
from lyo.tools.stack.jars import ensure_jars
from lyo.tools.stack.java import find_java
from lyo.tools.stack.local import default_home
from tests.support import logs
from tests.support.processes import ROOT

pytestmark = pytest.mark.integration

PROGRAMS = ROOT / "tests" / "support" / "publishers"
DOCUMENT = (ROOT / "docs" / "publishing.md").read_text()
KEYS = [*range(1, 150), *(random.Random(7).getrandbits(bits) | 1 for bits in range(8, 63) for _ in range(4))]
Publish = Callable[[str, str, Path], None]


def run(*command: str, folder: Path = ROOT, send: bool = True) -> None:
    """Run a program that reads keys, a line each."""
    lines = "".join(f"{key}\n" for key in KEYS)
    done = subprocess.run(
        command, cwd=folder, input=lines if send else None, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def needed(program: str) -> str:
    """The path of a program that is not ours; CI has it."""
    found = shutil.which(program)
    if found is None:
        assert "CI" not in os.environ, f"{program} is missing"
        pytest.skip(f"{program} is missing: the setting of its client was not tried")
    return found


def setting(client: str) -> str:
    """What the document tells a client to set."""
    [line] = [line for line in DOCUMENT.splitlines() if line.startswith(f"| {client}")]
    code = re.search(r"`([^`]+)`", line.split("|")[2])
    assert code is not None
    return code[1]


def librdkafka(address: str, topic: str, _: Path, *, as_told: bool = True) -> None:
    if "CI" in os.environ:
        import confluent_kafka
    else:
        confluent_kafka = pytest.importorskip("confluent_kafka")
    name, value = setting("librdkafka").split("=")
    producer = confluent_kafka.Producer({"bootstrap.servers": address} | ({name: value} if as_told else {}))
    for key in KEYS:
        producer.produce(topic, key=str(key), value=b"{}")
    assert producer.flush(60) == 0


def java(address: str, topic: str, folder: Path) -> None:
    # The Java client's default partitioner, through Kafka's own console producer.
    jars = ensure_jars(default_home() / "jars")
    lines = folder / "lines"
    lines.write_text("".join(f"{key}:{{}}\n" for key in KEYS))
    properties = [f"--reader-property={one}" for one in ("parse.key=true", "key.separator=:")]
    command = [find_java(), "-cp", f"{jars}{os.sep}*", "org.apache.kafka.tools.ConsoleProducer"]
    with lines.open("rb") as given:
        subprocess.run(
            [*command, "--bootstrap-server", address, "--topic", topic, *properties],
            stdin=given,
            check=True,
            capture_output=True,
        )


def kafkajs(address: str, topic: str, folder: Path) -> None:
    assert setting("kafkajs") in (PROGRAMS / "kafkajs" / "publish.js").read_text()
    node, npm = needed("node"), needed("npm")
    shutil.copytree(PROGRAMS / "kafkajs", folder / "kafkajs")
    run(npm, "ci", "--no-audit", "--no-fund", folder=folder / "kafkajs", send=False)
    run(node, "publish.js", address, topic, folder=folder / "kafkajs")


def in_go(client: str) -> Publish:
    def publish(address: str, topic: str, folder: Path) -> None:
        assert setting(client) in (PROGRAMS / "go" / "main.go").read_text()
        shutil.copytree(PROGRAMS / "go", folder / "go")
        run(needed("go"), "run", ".", client, address, topic, folder=folder / "go")

    return publish


def kcat(address: str, topic: str, folder: Path) -> None:
    lines = folder / "lines"
    lines.write_text("".join(f"{key}:{{}}\n" for key in KEYS))
    name, value = setting("kcat").split()
    run(needed("kcat"), "-P", "-b", address, "-t", topic, "-K:", "-l", name, value, str(lines), send=False)


CLIENTS: dict[str, Publish] = {
    "librdkafka": librdkafka,
    "Java": java,
    "kafkajs": kafkajs,
    "franz-go": in_go("franz-go"),
    "sarama": in_go("sarama"),
    "kcat": kcat,
}


async def placed(settings: Settings) -> dict[int, int]:
    records = await logs.records(settings, topics.names(settings).topic(Kind.SESSION))
    return {int(record.key): record.partition for record in records}


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_with_its_setting_agrees(
    kafka_settings: Settings, tmp_path: Path, client: str
) -> None:
    await topic_admin.ensure(kafka_settings)
    topic = topics.names(kafka_settings).topic(Kind.SESSION)
    CLIENTS[client](kafka_settings.bootstrap_servers, topic, tmp_path)
    expected = {key: partition(key, kafka_settings.partitions) for key in KEYS}
    assert await placed(kafka_settings) == expected


async def test_without_the_setting_librdkafka_does_not(kafka_settings: Settings, tmp_path: Path) -> None:
    await topic_admin.ensure(kafka_settings)
    topic = topics.names(kafka_settings).topic(Kind.SESSION)
    librdkafka(kafka_settings.bootstrap_servers, topic, tmp_path, as_told=False)
    expected = {key: partition(key, kafka_settings.partitions) for key in KEYS}
    assert await placed(kafka_settings) != expected


def test_every_client_of_the_document_is_tried() -> None:
    table = DOCUMENT.split("| client |")[1].split("\n\n")[0]
    named = re.findall(r"^\| ([\w-]+)", table, re.MULTILINE)
    assert named == list(CLIENTS)
