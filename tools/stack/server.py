"""What Kafka and Postgres have in common here: a folder, ports, one process, started and stopped."""

from __future__ import annotations

import abc
import contextlib
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import msgspec

from lyo.tools.stack import processes
from lyo.tools.stack.processes import Identity

START_SECONDS = 90.0
ATTEMPTS = 3


class StackError(RuntimeError):
    """The local stack cannot do what was asked; the message is one line that says what to do."""


class PortTakenError(StackError):
    """Another program listens on the port that was asked for."""


class State(msgspec.Struct, frozen=True):
    """What is remembered between runs: the ports always, the process while it runs."""

    ports: list[int]  # the first one is the server's own
    process: Identity | None = None


class Server(abc.ABC):
    """A server of the local stack under its own folder of `home`.

    Args:
        home: folder of the stack; the server keeps everything under `home/<name>`.
        port: the port to listen on, or None: the remembered one, else the usual one, else any free one.
        private: for tests: never the usual port, and the server is killed when this process dies.
    """

    name: str  # of its folder
    title: str  # in messages
    usual_port: int
    more_ports = 0  # besides its own
    stop_signal: int = signal.SIGTERM
    stop_seconds = 30.0

    def __init__(self, home: Path, port: int | None = None, *, private: bool = False) -> None:
        self.folder = Path(home).resolve() / self.name
        self.asked_port = port
        self.private = private
        self._guard: subprocess.Popen[bytes] | None = None
        self._child: subprocess.Popen[bytes] | None = None

    # ------------------------------------------------------------ what differs
    @abc.abstractmethod
    def prepare(self, ports: list[int]) -> None:
        """Fetch, format and configure what the process needs; raises StackError."""

    @abc.abstractmethod
    def launch(self, ports: list[int], log: Any) -> subprocess.Popen[bytes]:
        """Start the process, its output going to the file `log`."""

    @abc.abstractmethod
    def ready(self, port: int) -> bool:
        """Whether the process that was launched serves clients now."""

    @abc.abstractmethod
    def complaint(self) -> str:
        """The line of the log that says why the process ended."""

    # ------------------------------------------------------------ what is common
    @property
    def log_file(self) -> Path:
        """What the process wrote since its last start; the one before has `.old` at its end."""
        return self.folder / f"{self.name}.log"

    @property
    def state(self) -> State | None:
        """What was remembered, None when there is nothing or it cannot be read."""
        try:
            return msgspec.json.decode((self.folder / "state.json").read_bytes(), type=State)
        except (OSError, msgspec.DecodeError):
            return None

    @property
    def running(self) -> bool:
        """Whether our process is there."""
        state = self.state
        return state is not None and state.process is not None and processes.find(state.process) is not None

    @property
    def pid(self) -> int | None:
        """The id of the process, None when it does not run."""
        state = self.state
        return state.process.pid if self.running and state is not None and state.process is not None else None

    @property
    def port(self) -> int:
        """The port it listens on, or did last; raises StackError before the first start."""
        state = self.state
        if state is None:
            raise StackError(f"{self.title} has not been started yet: run lyo up")
        return state.ports[0]

    def start(self) -> Self:
        """Start it and wait until it serves; nothing to do when it runs already. Raises StackError."""
        self.check_port()
        if self.running:
            self._await_ready(self.port)
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            ports = self._choose_ports(remembered=attempt == 1)
            self.prepare(ports)
            try:
                self._run(ports)
            except PortTakenError:
                # Somebody took the port between our look and the bind: look again, unless it was asked for.
                if self.asked_port is not None or attempt == ATTEMPTS:
                    raise
            else:
                break
        return self

    def stop(self) -> bool:
        """End it in order, by force after `stop_seconds`; whether it ended by itself."""
        return self._end(self.stop_signal, self.stop_seconds)

    def kill(self) -> None:
        """End it as a power cut would, as tests need; `start` brings it back."""
        self._end(signal.SIGKILL, 10)

    def _end(self, signal_number: int, seconds: float) -> bool:
        state = self.state
        ended = True
        if state is not None and state.process is not None:
            ended = processes.end(state.process, signal_number, seconds)
            self._remember(State(state.ports))
        if self._child is not None:
            self._child.wait()
            self._child = None
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None
        return ended

    def _remember(self, state: State) -> None:
        new = self.folder / "state.json.new"
        new.write_bytes(msgspec.json.encode(state))
        new.replace(self.folder / "state.json")

    def check_port(self) -> None:
        """Raise StackError when the port that was asked for cannot be had."""
        if self.asked_port is None:
            return
        if self.running:
            if self.asked_port != self.port:
                raise StackError(
                    f"{self.title} runs already on port {self.port}, not on {self.asked_port}: "
                    "run lyo down first"
                )
        elif not processes.port_is_free(self.asked_port):
            raise PortTakenError(
                f"port {self.asked_port} for {self.title} is taken by another program: "
                "choose another one, or leave the choice to lyo up"
            )

    def _choose_ports(self, *, remembered: bool) -> list[int]:
        if self.asked_port is not None:
            own = self.asked_port
        else:
            state = self.state
            candidates = state.ports[:1] if state else []
            candidates += [] if self.private else [self.usual_port]
            candidates = candidates if remembered else []
            own = (
                next((port for port in candidates if processes.port_is_free(port)), 0)
                or processes.free_port()
            )
        ports = [own]
        while len(ports) <= self.more_ports:
            if (extra := processes.free_port()) not in ports:
                ports.append(extra)
        return ports

    def _run(self, ports: list[int]) -> None:
        if self.log_file.exists():
            self.log_file.replace(self.log_file.with_suffix(".log.old"))
        with self.log_file.open("wb") as log:
            self._child = self.launch(ports, log)
        with contextlib.suppress(ProcessLookupError):
            identity = processes.identify(self._child.pid)
            self._remember(State(ports, identity))
            if self.private:
                self._guard = processes.guard(identity)
        try:
            self._await_ready(ports[0])
        except BaseException:
            # Nobody is told about a server that is not ready, so nobody would stop it.
            self.kill()
            raise

    def _await_ready(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.ready(port):
            if not self.running or (self._child is not None and self._child.poll() is not None):
                complaint = self.complaint()
                message = f"{self.title} ended while starting: {complaint} (see {self.log_file})"
                if "already in use" in complaint.lower():
                    raise PortTakenError(message)
                raise StackError(message)
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.title} was not ready after {START_SECONDS:.0f} seconds (see {self.log_file})"
                )
            time.sleep(processes.POLL_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
