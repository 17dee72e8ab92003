"""A simulated file from its first line to its last, without ever holding it."""

from collections.abc import Callable, Iterator

import numpy as np

from lyo.tools.simulation import catalogue
from lyo.tools.simulation.day import Events, simulate
from lyo.tools.simulation.learners import Block, draw, offsets
from lyo.tools.simulation.lines import BROKEN, Writer
from lyo.tools.simulation.plan import BLOCK, DAY, Plan

HOUR = 3_600_000
LINES_AT_ONCE = 20_000  # lines made together; a line takes some 300 bytes
# No zone is further ahead of UTC: what a later local day brings arrives after its own midnight there.
AHEAD = 14 * HOUR


def generate(plan: Plan, day_done: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Yield the file in pieces of whole lines, ordered by when each event arrives.

    The catalogue comes first. `day_done` is told how many days are over. Memory holds about 200 bytes a
    learner and two days of events at 40 bytes each.
    """
    yield b"".join(catalogue.lines())
    blocks = _blocks(plan)
    writer = Writer(
        plan,
        np.concatenate([block.organization for block in blocks]),
        np.concatenate([block.zone for block in blocks]),
    )
    waiting: list[Events] = []
    number = 0
    since = (plan.first_day - 2) * DAY
    for day in range(plan.days):
        date = plan.first_day + day
        zones = offsets(date)
        for place, block in enumerate(blocks):
            rng = np.random.default_rng([plan.seed, place, day + 1])
            events = simulate(block, day=day, date=date, offsets=zones, number=number, rng=rng)
            number += len(events)
            waiting.append(events[np.argsort(events["arrival"], kind="stable")])
        last = day == plan.days - 1
        until = plan.end if last else (date + 1) * DAY - AHEAD
        yield from _written(plan, writer, waiting, since=since, until=until, day=day)
        _forget(waiting, until)
        since = until
        if day_done is not None:
            day_done(day + 1)


def _blocks(plan: Plan) -> list[Block]:
    starts = range(0, plan.learners, BLOCK)
    return [
        draw(plan, first, min(BLOCK, plan.learners - first), np.random.default_rng([plan.seed, place, 0]))
        for place, first in enumerate(starts)
    ]


def _forget(waiting: list[Events], at: int) -> None:
    """Leave what arrives at or after `at`, one by one and as copies: views would keep all in memory."""
    for place, events in enumerate(waiting):
        waiting[place] = events[np.searchsorted(events["arrival"], at) :].copy()
    waiting[:] = [events for events in waiting if len(events)]


def _written(
    plan: Plan, writer: Writer, waiting: list[Events], *, since: int, until: int, day: int
) -> Iterator[bytes]:
    """Yield the lines of all that arrives in [since, until), an hour at a time."""
    rng = np.random.default_rng([plan.seed, 2**31, day])
    for begin in range(since, until, HOUR):
        edges = [np.searchsorted(events["arrival"], (begin, min(begin + HOUR, until))) for events in waiting]
        parts = [events[low:high] for events, (low, high) in zip(waiting, edges, strict=True) if low < high]
        if not parts:
            continue
        events = np.concatenate(parts)
        events = events[np.lexsort((events["number"], events["arrival"]))]
        for start in range(0, len(events), LINES_AT_ONCE):
            lines = writer.lines(events[start : start + LINES_AT_ONCE])
            if plan.bad:
                lines = _spoiled(lines, plan.bad, rng)
            yield "".join(lines).encode()


def _spoiled(lines: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """Put lines that cannot be used after some of the good ones; no good one is lost."""
    after = rng.random(len(lines)) < share
    sorts = rng.integers(0, len(BROKEN), len(lines))
    return [
        f"{line}{BROKEN[sort]}\n" if bad else line
        for line, bad, sort in zip(lines, after.tolist(), sorts.tolist(), strict=True)
    ]
