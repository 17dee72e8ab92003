"""Three Kafka nodes on one machine: each broker and controller, everything on three replicas, two in sync."""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lyo.tools.stack import LocalKafka, processes

NODES = 3
Ports = tuple[int, int]
REPLICATED = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "min.insync.replicas": "2",
    "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    # A dead broker's partitions have no leader until its session is over: 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


class Node(LocalKafka):
    """One of the nodes, on ports that the others know."""

    def __init__(self, home: Path, number: int, ports: Sequence[Ports], cluster: str, jars: Path) -> None:
        super().__init__(home / f"node-{number}", jar_cache=jars, private=True)
        self.number = number
        self.cluster = cluster
        self.ports = ports

    def _choose_ports(self, *, remembered: bool) -> list[int]:
        return list(self.ports[self.number - 1])

    def prepare(self, ports: list[int]) -> None:
        """Write the settings of a node among others over those of one alone."""
        super().prepare(ports)
        self._configure()

    def _format(self) -> None:
        self._configure()
        arguments = ["format", f"--cluster-id={self.cluster}", "--config", str(self._properties)]
        quick = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        command = self._command("kafka.tools.StorageTool", *arguments, options=quick)
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)

    def _configure(self) -> None:
        voters = ",".join(
            f"{number}@{processes.LOOPBACK}:{controller}"
            for number, (_, controller) in enumerate(self.ports, start=1)
        )
        number = str(self.number)
        own = REPLICATED | {"node.id": number, "broker.rack": number, "controller.quorum.voters": voters}
        lines = self._properties.read_text().splitlines()
        kept = [line for line in lines if line.partition("=")[0] not in own]
        self._properties.write_text(
            "\n".join([*kept, *(f"{key}={value}" for key, value in own.items())]) + "\n"
        )


@contextmanager
def three_brokers(home: Path, jars: Path) -> Iterator[list[Node]]:
    """The nodes, started together, since none is ready alone."""
    ports: list[int] = []
    while len(ports) < 2 * NODES:
        if (port := processes.free_port()) not in ports:
            ports.append(port)
    pairs = list(zip(ports[::2], ports[1::2], strict=True))
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    nodes = [Node(home, number, pairs, cluster, jars) for number in range(1, NODES + 1)]
    with ThreadPoolExecutor(NODES) as pool:
        try:
            list(pool.map(lambda node: node.start(), nodes))
            yield nodes
        finally:
            list(pool.map(lambda node: node.kill(), nodes))


def addresses(nodes: Sequence[Node]) -> str:
    """All brokers, for clients."""
    return ",".join(node.bootstrap_servers for node in nodes)
