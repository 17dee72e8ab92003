"""Whether a simulated deployment is at rest: everything read, computed, erased and stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lyo.models.events.identity import partition
from lyo.storage.times import instant

if TYPE_CHECKING:
    from tests.support.simulation.world import World


def unrest(world: World) -> str | None:
    """What is still to be done."""
    inputs = {tp for tp in world.broker.logs if tp.topic in world.names.inputs}
    committed = world.broker.groups.get(world.settings.app_id, {})
    for tp in sorted(inputs):
        done = committed[tp].offset if tp in committed else 0
        if done < len(world.broker.logs[tp].entries):
            return f"{tp.topic}-{tp.partition} is processed up to {done}"
    awake = [worker for name, worker in world.workers.items() if name not in world.frozen]
    tasks = [task for worker in awake for task in worker.tasks.values()]
    if sorted(task.number for task in tasks) != list(range(world.settings.partitions)):
        return f"open tasks: {sorted(task.number for task in tasks)}"
    for task in tasks:
        if task.engine is None or task.engine.due(world.now(), world.now()):
            return f"task {task.number} has predictions due"
    return _unerased(world, tasks) or _unstored(world)


def _unerased(world: World, tasks: list[Any]) -> str | None:
    rows = world.database.tables.get("erasure_fences", {})
    engines = {task.number: task.engine for task in tasks}
    for user, marker in world.markers.items():
        # A consent from before the erasure may be compacted away before anybody has read it.
        done = engines[partition(user, world.settings.partitions)].erasing._done.get(user)
        if done is None or (done.erased_at, done.counts_from) != (marker.erased_at, marker.counts_from):
            return f"learner {user} is not erased from the topics"
        row = rows.get((user,), {"erased_at": None, "epoch": None})
        opened = row["epoch"] if row["epoch"] and row["epoch"] > row["erased_at"] else None
        wanted = None if marker.counts_from is None else instant(marker.counts_from)
        if (row["erased_at"], opened) != (instant(marker.erased_at), wanted):
            return f"learner {user} is not erased from the tables"
    return None


def _unstored(world: World) -> str | None:
    offsets = world.database.tables.get("sink_offsets", {})
    for tp, log in world.broker.logs.items():
        if tp.topic in world.stored_topics:
            stored = offsets.get((tp.topic, tp.partition), {"next_offset": 0})["next_offset"]
            if log.pending or stored < len(log.entries):
                return f"{tp.topic}-{tp.partition} is stored up to {stored}"
    return None
