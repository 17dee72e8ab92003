"""A topic that is deleted and created again while no worker runs: the next ones refuse, whichever it is."""

from __future__ import annotations

import pytest

from lyo.streams.topics import Names
from tests.support.simulation.plan import SECONDS, Plan
from tests.support.simulation.world import Failed, World

SEEDS = 4
NAMES = Names()


class Losing(World):
    """Half-way, the workers are killed and a topic is made anew before they start again."""

    def __init__(self, seed: int, topic: str) -> None:
        super().__init__(Plan(seed, faults=Plan.of(seed).faults))
        self._lost = topic

    async def _scenario(self) -> None:
        self.loop.call_later(SECONDS / 2, self._lose)
        await super()._scenario()

    def _lose(self) -> None:
        for name, process in self.processes.items():
            if name.startswith("worker"):
                process.kill()
        self.broker.make_anew(self._lost)

    async def _rest(self) -> None:
        """It never comes to rest."""


@pytest.mark.parametrize("topic", NAMES.lasting)
def test_a_topic_made_anew_is_refused_by_name(topic: str) -> None:
    named = "the changelog of the learners' rows is empty" if topic == NAMES.learner_rows else topic
    for seed in range(SEEDS):
        world = Losing(seed, topic)
        with pytest.raises(Failed):
            world.run()
        said = [line for line in world.unexpected if line.startswith("worker")]
        assert said, f"seed {seed}: no worker refuses"
        assert all(named in line and "created again" in line for line in said), f"seed {seed}: {said[:3]}"
