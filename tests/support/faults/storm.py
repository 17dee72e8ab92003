"""Faults at random moments, all from one seed: kills, joins and leaves, freezes, and servers going away."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.support.faults.fleet import STOP_SECONDS, Fleet, Member

Fault = Callable[[random.Random], Awaitable[str]]
FLOOR_SECONDS = 300.0


@dataclass(slots=True)
class Storm:
    """Faults one after another, each a random pause after the one before."""

    fleet: Fleet
    seed: int
    pause: tuple[float, float]
    faults: dict[str, Fault]
    counts: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)

    async def run(self, until: Callable[[], bool]) -> None:
        """Let faults happen until the condition holds, looked at after each."""
        chance, began = random.Random(self.seed), time.monotonic()
        names = list(self.faults)
        while not until():
            await asyncio.sleep(chance.uniform(*self.pause))
            name = chance.choice(names)
            said = await self.faults[name](chance)
            if said:
                self.counts[name] += 1
                self.log.append(f"{time.monotonic() - began:.1f} s: {name} {said}")


def kill_one(fleet: Fleet, *commands: str, spare: Sequence[str] = ()) -> Fault:
    """Kill -9 a random member of these commands; the supervisor starts it again."""

    async def fault(chance: random.Random) -> str:
        members = [m for c in commands for m in fleet.of(c) if m.alive and not m.frozen]
        members = [member for member in members if member.name not in spare]
        if not members:
            return ""
        member = chance.choice(sorted(members, key=lambda one: one.name))
        # A process that has only begun to start is killed, too, but is no target worth counting.
        counts = member.at_work
        member.kill()
        return member.name if counts else ""

    return fault


def freeze_one(fleet: Fleet, command: str, seconds: float, *, spare: Sequence[str] = ()) -> Fault:
    """Freeze a random member for so long, then let it go on."""

    async def fault(chance: random.Random) -> str:
        members = [m for m in fleet.of(command) if m.alive and not m.frozen and m.name not in spare]
        if not members:
            return ""
        member = chance.choice(sorted(members, key=lambda one: one.name))
        member.freeze()
        try:
            await asyncio.sleep(seconds)
        finally:
            member.thaw()
        return member.name

    return fault


async def come_and_go(fleet: Fleet, name: str, every: float, moves: list[str]) -> None:
    """Let a member join, and leave in order, in turns, until cancelled."""
    while True:
        await asyncio.sleep(every)
        member = fleet.members.get(name)
        if member is None or not member.wanted:
            fleet.add(name)
            moves.append("joined")
        else:
            await leave(member)
            moves.append("left")


async def leave(member: Member) -> None:
    """End a member with SIGTERM, whether or not it has begun to work."""
    member.wanted = False
    member.ask_to_stop()
    # Another fault may have killed it meanwhile.
    if member.alive:
        await member.ended(STOP_SECONDS)


@dataclass(slots=True)
class Memory:
    """Resident memory of members over time, and how fast it grows.

    A member that ended and was started again is judged by the process of it that lived longest: only of one
    that lives can be said whether it grows. Its first ``warm_up`` (a share of its life) does not count, in
    which it meets the learners and takes its buffers. What grows is the floor: the least of each few minutes.
    A worker that opens numbers anew, or another one's, takes twice their memory for as long as that lasts.
    """

    fleet: Fleet
    names: Sequence[str]
    warm_up: float
    samples: dict[str, dict[int, list[tuple[float, int]]]] = field(default_factory=dict)

    async def watch(self, every: float) -> None:
        """Take a sample of each member every so many seconds, until cancelled."""
        began = time.monotonic()
        while True:
            for name in self.names:
                member = self.fleet.members[name]
                if size := member.memory():
                    lives = self.samples.setdefault(name, {})
                    lives.setdefault(member.starts, []).append((time.monotonic() - began, size))
            await asyncio.sleep(every)

    def judged(self, name: str) -> list[tuple[float, int]]:
        """The samples that count: seconds and bytes."""
        lived = max(self.samples[name].values(), key=lambda points: points[-1][0] - points[0][0])
        after = lived[0][0] + self.warm_up * (lived[-1][0] - lived[0][0])
        return [point for point in lived if point[0] >= after]

    def seconds(self, name: str) -> float:
        """How long the samples that count last."""
        points = self.judged(name)
        return points[-1][0] - points[0][0]

    def floor(self, name: str) -> list[tuple[float, int]]:
        """The least of each `FLOOR_SECONDS` of the samples that count."""
        least: dict[int, tuple[float, int]] = {}
        for point in self.judged(name):
            window = int(point[0] // FLOOR_SECONDS)
            least[window] = min(point, least.get(window, point), key=lambda each: each[1])
        return list(least.values())

    def slope(self, name: str) -> float:
        """MB per hour: a straight line through the floor."""
        points = np.array(self.floor(name))
        if len(points) < 2:
            return 0.0
        return float(np.polyfit(points[:, 0] / 3600, points[:, 1] / 1e6, 1)[0])

    def said(self, name: str) -> str:
        """The floor (MB), the largest of the samples that count, and the slope."""
        floor = " ".join(f"{size / 1e6:.0f}" for _, size in self.floor(name))
        most = max(size for _, size in self.judged(name)) / 1e6
        return (
            f"{name}: least of each {FLOOR_SECONDS // 60:.0f} minutes {floor} MB, at most {most:.0f} MB, "
            f"{self.slope(name):+.1f} MB/h over {self.seconds(name):.0f} s; "
            f"processes of it: {len(self.samples[name])}"
        )
