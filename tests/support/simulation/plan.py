"""What a seed is about: how much, with which faults, and where."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from lyo.models.arrays.zones import DAY
from lyo.streams.failpoints import SINK_FAILPOINTS, TASK_FAILPOINTS
from tests.support.simulation.network import Faults
from tests.support.simulation.workload import DAYS

SECONDS = 25.0  # simulated, for all that is published and all that goes wrong
CALM = 15.0  # simulated, after which no process may end any more
IDLE = 10.0  # until the database ends a transaction whose client stands still
REST = 150.0  # simulated, to come to rest afterwards
FASTER = DAYS * DAY / (SECONDS * 1_000)  # than simulated time, so that days end during a run
# Beside the product's own steps: the statements that a sink is about to run.
STATEMENTS = ("_claim", "_lock", "_advance", "upsert", "merge", "_notify")
STEPS = (*TASK_FAILPOINTS, *SINK_FAILPOINTS, *STATEMENTS)


DISASTERS = tuple(
    f"{what} {whom}" for what in ("kill", "pause", "stop", "freeze") for whom in ("worker", "sink")
)
DISASTERS += ("broker away", "database away", "compact")


class Failed(AssertionError):
    """What a run found."""


@dataclass
class Plan:
    """What one seed is about; as in swarm testing, each leaves out some kinds of fault."""

    seed: int
    real_engine: bool = False
    events: int = 60
    faults: Faults = field(default_factory=Faults)
    kinds: tuple[str, ...] = ()
    disasters: int = 0
    stops: list[tuple[str, int, str]] = field(default_factory=list)
    refusals: int = 0

    @classmethod
    def of(cls, seed: int, *, real_engine: bool = False, events: int = 60) -> Plan:
        """The plan of a seed."""
        dice = random.Random(f"{seed}-plan")

        def perhaps(most: float) -> float:
            return dice.choice((0.0, dice.uniform(0, most)))

        faults = Faults(
            lost_requests=perhaps(0.02),
            lost_answers=perhaps(0.02),
            slow=perhaps(0.1),
            slow_seconds=dice.choice((0.2, 2.0)),
            lost_polls=perhaps(0.1),
            marker_seconds=dice.choice((0.01, 0.3, 1.5)),
        )
        kinds = tuple(kind for kind in DISASTERS if dice.random() < 0.6)
        stops = [
            (
                dice.choice(STEPS),
                dice.randint(1, 12),
                dice.choice(("kill", "pause", "freeze")),
            )
            for _ in range(dice.choice((0, 2, 4, 8)))
        ]
        disasters = dice.choice((0, 3, 8, 15))
        if dice.random() < 0.25:  # numbers go from one worker to another all the time
            kinds, disasters = ("stop worker", "stop worker", "pause worker"), 15
        # Dice of its own, so that the other faults of a seed stay what they were.
        refusals = random.Random(f"{seed}-refusals").choice((0, 0, 1, 3))
        return cls(seed, real_engine, events, faults, kinds, disasters, stops, refusals)
