"""One real Kafka node (KRaft: broker and controller in one process)."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from lyo.tools.stack import jars, processes
from lyo.tools.stack.java import find_java
from lyo.tools.stack.server import Server, StackError


@dataclass(frozen=True, slots=True)
class Listener:
    """One more way into the broker, on a port of its own.

    Attributes:
        name: capital letters; what clients never see.
        protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        properties: its settings as Kafka names them, without the `listener.name.<name>.` in front.
    """

    name: str
    protocol: str
    properties: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Its settings as lines of a properties file."""
        return [
            f"listener.name.{self.name.lower()}.{name}={value}" for name, value in self.properties.items()
        ]


# Half of what a broker takes of a small machine in its first minutes is compiling itself, for hours to come.
QUICK = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
BROKER = ["-Xms256m", "-Xmx768m", *QUICK]
FORMAT = ["-Xmx128m", *QUICK]
STARTED = b"Kafka Server started"


class LocalKafka(Server):
    """Kafka on 127.0.0.1 under `home/kafka`; its jars are kept in `jar_cache` (`home/jars` by default).

    For tests: `listeners` besides the plain one, and `users` (name, password) who may sign in by SCRAM.
    """

    name = "kafka"
    title = "Kafka"
    usual_port = 9092
    more_ports = 1  # the controller's

    def __init__(
        self,
        home: Path,
        port: int | None = None,
        *,
        jar_cache: Path | None = None,
        private: bool = False,
        listeners: Sequence[Listener] = (),
        users: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(home, port, private=private)
        self.listeners = tuple(listeners)
        self.users = dict(users or {})
        self.more_ports = 1 + len(self.listeners)
        self.jar_cache = Path(home).resolve() / "jars" if jar_cache is None else jar_cache

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients, `host:port`."""
        return f"{processes.LOOPBACK}:{self.port}"

    def address(self, listener: str) -> str:
        """The address of one more listener, `host:port`."""
        place = [listening.name for listening in self.listeners].index(listener)
        state = self.state
        assert state is not None, "it has not been started yet"
        return f"{processes.LOOPBACK}:{state.ports[2 + place]}"

    def prepare(self, ports: list[int]) -> None:
        """Fetch the jars, write the settings, format the storage the first time."""
        self._java, self._jars = find_java(), jars.ensure_jars(self.jar_cache)
        template = resources.files("lyo.tools.stack").joinpath("kafka/server.properties").read_text()
        # Backslashes are escapes in a properties file.
        data = str(self.folder / "data").replace("\\", "/")
        text = template.replace("{port}", str(ports[0])).replace("{controller}", str(ports[1]))
        self._properties.write_text(text.replace("{data}", data) + self._listening(ports))
        logging = resources.files("lyo.tools.stack").joinpath("kafka/log4j2.properties").read_text()
        (self.folder / "log4j2.properties").write_text(logging)
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()

    def launch(self, ports: list[int], log: Any) -> subprocess.Popen[bytes]:
        """Start the broker in a session of its own: an interrupt at the terminal does not reach it."""
        return subprocess.Popen(
            self._command("kafka.Kafka", str(self._properties), options=BROKER),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=_environment(),
            start_new_session=True,
        )

    def ready(self, port: int) -> bool:
        """Whether the broker says so, and answers."""
        return STARTED in self.log_file.read_bytes() and processes.port_answers(port)

    def complaint(self) -> str:
        """The first error of its log, or the last line."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        pattern = re.compile(r"(\w+Exception: .+|Address already in use.*|.*OutOfMemoryError.*)")
        for line in lines:
            if match := pattern.search(line):
                return match[1].strip()
        return lines[-1].strip() if lines else "it wrote nothing"

    def _listening(self, ports: list[int]) -> str:
        """What more listeners add to the settings; of a name that is there twice the last one counts."""
        if not self.listeners:
            return ""
        plain, controller, *others = (f"{processes.LOOPBACK}:{port}" for port in ports)
        more = [f"{listening.name}://{at}" for listening, at in zip(self.listeners, others, strict=True)]
        protocols = [f"{listening.name}:{listening.protocol}" for listening in self.listeners]
        lines = [
            f"listeners={','.join([f'BROKER://{plain}', f'CONTROLLER://{controller}', *more])}",
            f"advertised.listeners={','.join([f'BROKER://{plain}', *more])}",
            "listener.security.protocol.map="
            + ",".join(["BROKER:PLAINTEXT", "CONTROLLER:PLAINTEXT", *protocols]),
            *(line for listening in self.listeners for line in listening.lines()),
        ]
        return "\n".join(["", *lines, ""])

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _command(self, main: str, *arguments: str, options: list[str]) -> list[str]:
        log4j = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        return [self._java, *options, log4j, "-cp", f"{self._jars}{os.sep}*", main, *arguments]

    def _format(self) -> None:
        # With `=`, since one id in 64 begins with a dash.
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        arguments = ["format", f"--cluster-id={cluster}", "--config", str(self._properties)]
        for name, password in self.users.items():
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                arguments += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
        answer = subprocess.run(
            self._command("kafka.tools.StorageTool", *arguments, options=FORMAT),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=_environment(),
            check=False,
        )
        if answer.returncode:
            lines = (answer.stderr.strip() or answer.stdout.strip() or "no reason given").splitlines()
            raise StackError(f"Kafka's storage could not be formatted: {lines[-1]}")


def _environment() -> dict[str, str]:
    """Ours, without Java options that others set for other programs."""
    unwanted = {"KAFKA_OPTS", "KAFKA_HEAP_OPTS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH"}
    return {key: value for key, value in os.environ.items() if key not in unwanted}
