"""The demo's `lyo` processes: starts them, restarts those that die, and stops them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from lyo.tools.stack import processes
from lyo.tools.stack.jars import REPOSITORY
from lyo.tools.stack.processes import Identity

POLL_SECONDS = 0.3
# A process that dies this often within this time is given up.
MOST_DEATHS, DEATHS_SECONDS = 4, 60.0
STOP_SECONDS = 20.0
KEPT = frozenset({"LYO_LOG_LEVEL", "LYO_DEBUG", REPOSITORY})

Say = Callable[[str], None]


class DemoError(RuntimeError):
    """An error that ends the demo; the message is one line."""


class Child:
    """One `lyo` process with a log file. It is killed when this process ends, however it ends."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log_file = folder / f"{name}.log"
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: Identity | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)

    @property
    def pid(self) -> int | None:
        """The id of the process, None before the start."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C at the terminal does not reach it."""
        self._bury()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lyo.cli.main", self.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        self._identity = processes.identify(self._process.pid)
        self._guard = processes.guard(self._identity)

    def revive(self, say: Say) -> None:
        """Start it again if it has ended, and say so.

        Raises:
            DemoError: it ended too often.
        """
        if self._process is None or (code := self._process.poll()) is None:
            return
        now = time.monotonic()
        self._deaths.append(now)
        if len(self._deaths) == MOST_DEATHS and now - self._deaths[0] < DEATHS_SECONDS:
            raise DemoError(f"the {self.name} ended {MOST_DEATHS} times: {self.complaint()}")
        dead = self._process.pid
        self.start()
        say(f"The {self.name} (process {dead}) ended with {_code(code)} and was started again")

    def complaint(self) -> str:
        """The last line of its log, and where the rest is."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        return f"{lines[-1].strip() if lines else 'it wrote nothing'} (see {self.log_file})"

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, seconds: float) -> bool:
        """Wait for its end, and kill it after so many seconds; returns whether it ended by itself."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        finally:
            self._bury()
        return True

    def _bury(self) -> None:
        """End the guard of a process that has ended."""
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None


def _code(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


async def watch(children: list[Child], say: Say) -> None:
    """Restart processes that end, until cancelled; raises DemoError if one keeps ending."""
    while True:
        for child in children:
            child.revive(say)
        await asyncio.sleep(POLL_SECONDS)


def stop(children: list[Child]) -> list[str]:
    """Stop all at once; returns the names of those that had to be killed."""
    for child in children:
        child.ask_to_stop()
    until = time.monotonic() + STOP_SECONDS
    return [child.name for child in children if not child.wait(max(until - time.monotonic(), 0.1))]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these LYO_* settings; of its own only those in `KEPT` stay."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LYO_") or name in KEPT}
    return ours | dict(settings)
