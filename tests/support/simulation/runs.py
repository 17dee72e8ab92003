"""Running one seed, and again one that failed: ``python -m tests.support.simulation.runs SEED [real]``."""

from __future__ import annotations

import sys
from hashlib import blake2b

from tests.support.simulation import oracle
from tests.support.simulation.world import Failed, Plan, World

EVENTS_OF_REAL = 40


def plan_of(seed: int, *, real_engine: bool) -> Plan:
    """The plan of a seed with the product's engine, or with the small one."""
    return Plan.of(seed, real_engine=real_engine, events=EVENTS_OF_REAL if real_engine else 60)


def run(seed: int, *, real_engine: bool = False) -> World:
    """Run a seed and check what it ends with.

    Raises:
        Failed: with the seed and how to run it again.
    """
    world = World(plan_of(seed, real_engine=real_engine))
    try:
        world.run()
        oracle.check(world)
    except Failed as error:
        again = f"python -m tests.support.simulation.runs {seed}{' real' if real_engine else ''}"
        raise Failed(f"seed {seed}: {error}\nAgain, with what happened when: {again}") from None
    return world


def finds(seed: int, *, real_engine: bool = False) -> str | None:
    """What a seed finds, or None."""
    try:
        run(seed, real_engine=real_engine)
    except Failed as error:
        return str(error)
    return None


def digest(world: World) -> str:
    """One number for everything that is in the topics and in the tables, and for what happened when."""
    said = [repr(world.trace), repr(sorted(world.database.tables.get("sink_offsets", {}).items()))]
    for tp, log in sorted(world.broker.logs.items()):
        said += [repr((tp, [record for record, _ in log.entries]))]
    return blake2b("\n".join(said).encode(), digest_size=16).hexdigest()


def main() -> None:
    """Run the seed of the command line and show what happened."""
    real = "real" in sys.argv[2:]
    world = World(plan_of(int(sys.argv[1]), real_engine=real))
    try:
        world.run()
        print(oracle.check(world))
    finally:
        print("\n".join(world.trace))
        print(world.plan)
        print(digest(world))


if __name__ == "__main__":
    main()
