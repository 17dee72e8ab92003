"""Worker and sink processes that are killed, frozen and started again, each in a folder of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from lyo.tools.stack import processes

LOOK_SECONDS = 0.1
# SIGTERM ends every process within this time, whatever is away.
STOP_SECONDS = 30.0
GIVEN = ("assigned numbers", "claimed ")
"""What a worker and a sink say whenever they have been given partitions."""
WHY = ("(-9): ", "(1): Error: ", "(1): lyo worker: ")
"""How a process has ended that was killed, or has said in one line why."""


class Member:
    """One `lyo` process that lives in ``home``: it has no other folder to write to; its log is beside it."""

    def __init__(self, name: str, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.command = command
        self.home = folder / name
        self.log = folder / f"{name}.log"
        self.environment = dict(environment)
        self.program = "lyo.cli.main"
        self.starts = 0
        self.wanted = True
        self.frozen = False
        self.exits: list[int] = []
        self._begun = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether it stands still, by SIGSTOP from us or from itself."""
        if self._process is None or self._process.poll() is not None:
            return False
        return bool(psutil.Process(self._process.pid).status() == psutil.STATUS_STOPPED)

    @property
    def code(self) -> int | None:
        """How the last process ended, None while it runs or before its first start."""
        if self._process is not None:
            return self._process.poll()
        return self.exits[-1] if self.exits else None

    def start(self, *, fresh: bool = False, **more: str) -> None:
        """Start it, on a fresh disk if so asked; ``more`` are variables of this start alone."""
        self._bury()
        if fresh:
            shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(exist_ok=True)
        place = {"HOME": str(self.home), "TMPDIR": str(self.home)}
        with self.log.open("ab") as out:
            self._begun = out.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.program, self.command],
                env=self.environment | place | more,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        with contextlib.suppress(ProcessLookupError):
            self._guard = processes.guard(processes.identify(self._process.pid))
        self.starts += 1
        self.frozen = False

    def kill(self) -> None:
        """End it with -9."""
        self._signal(signal.SIGKILL)
        self._bury()

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP)."""
        self._signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)
        self.frozen = False

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        self._signal(signal.SIGTERM)

    async def ended(self, seconds: float = 90.0) -> int:
        """Wait until it has ended; gives its exit code."""
        assert self._process is not None
        try:
            code = await asyncio.to_thread(self._process.wait, seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds:g} s:\n{self.tail()}") from None
        self._bury()
        return code

    async def stop(self, seconds: float = STOP_SECONDS) -> float:
        """End it with SIGTERM; gives how long that took (s), and fails when it takes longer than allowed."""
        began = time.monotonic()
        self.wanted = False
        self.ask_to_stop()
        code = await self.ended(seconds)
        assert code == 0, f"{self.name} ended with {code}:\n{self.tail()}"
        return time.monotonic() - began

    def memory(self) -> int:
        """Resident bytes; 0 when it does not run."""
        if self.alive and self._process is not None:
            with contextlib.suppress(psutil.Error):
                return int(psutil.Process(self._process.pid).memory_info().rss)
        return 0

    @property
    def at_work(self) -> bool:
        """Whether the process that runs now has been given partitions."""
        return self.alive and any(self.said(text, since=self._begun) for text in GIVEN)

    def given(self) -> int:
        """How often its log says that it was given partitions, of all its processes."""
        return sum(self.said(text) for text in GIVEN)

    def said(self, text: str, *, since: int = 0) -> int:
        """How often its log says something, of all its processes, or from a byte of it on."""
        return self.log.read_bytes()[since:].count(text.encode()) if self.log.exists() else 0

    def tail(self, characters: int = 3000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def left_behind(self) -> list[str]:
        """The files it has written to its folder."""
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*") if path.is_file())

    def _signal(self, number: int) -> None:
        if self.alive and self._process is not None:
            self._process.send_signal(number)

    def _bury(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.kill()
            self.exits.append(process.wait())
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None


class Fleet:
    """Members and their supervisor, which starts again whatever ends though it is wanted."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self.members: dict[str, Member] = {}
        self.revived: list[str] = []

    def add(self, name: str, *, program: str = "lyo.cli.main", **more: str) -> Member:
        """Start a member; its command is its name up to the dash; ``more`` are variables of this start."""
        member = self.members.get(name)
        if member is None:
            command = name.partition("-")[0]
            member = self.members[name] = Member(name, command, self.folder, self.environment)
        member.wanted = True
        member.program = program
        member.start(fresh=False, **more)
        return member

    def of(self, command: str) -> list[Member]:
        """The members of one command that are wanted."""
        return [one for one in self.members.values() if one.command == command and one.wanted]

    async def supervise(self) -> None:
        """Start again what has ended by itself, with its last line kept, until cancelled."""
        while True:
            for member in self.members.values():
                if member.wanted and not member.alive:
                    lines = member.tail().strip().splitlines()
                    self.revived.append(f"{member.name} ({member.code}): {lines[-1] if lines else ''}")
                    member.start()
            await asyncio.sleep(LOOK_SECONDS)

    def unexplained(self) -> list[str]:
        """What ended by itself without the one line that says why."""
        return [line for line in self.revived if not any(why in line for why in WHY)]

    async def stop(self) -> dict[str, float]:
        """End all with SIGTERM; gives how long each took (s)."""
        members = [member for member in self.members.values() if member.alive]
        for member in members:
            member.thaw()
        took = await asyncio.gather(*(member.stop() for member in members))
        return {member.name: seconds for member, seconds in zip(members, took, strict=True)}

    def kill(self) -> None:
        """End whatever still runs."""
        for member in self.members.values():
            member.wanted = False
            member.kill()


@asynccontextmanager
async def fleet(folder: Path, environment: Mapping[str, str], *, supervised: bool) -> AsyncIterator[Fleet]:
    """A fleet whose processes end with the block."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LYO_")}
    running = Fleet(folder, ours | {k: v for k, v in environment.items() if k.startswith("LYO_")})
    watching = asyncio.create_task(running.supervise()) if supervised else None
    try:
        yield running
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await asyncio.to_thread(running.kill)
    if watching is not None and not watching.cancelled():
        watching.result()
