"""An event loop whose time is a number: it jumps to the next timer when nothing else is to be done.

Every callback belongs to a simulated process (a context variable, inherited by tasks and timers). What
belongs to a process that is stopped (SIGSTOP) waits until it goes on; a killed one is cancelled.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections.abc import Callable, Coroutine
from typing import Any

MOST_STEPS = 400_000


class Stuck(AssertionError):
    """Nothing will ever happen again, or too much happens at one moment."""


class Process:
    """One simulated process: what runs in its context stops and dies with it."""

    def __init__(self, name: str, loop: SimLoop) -> None:
        self.name = name
        self.loop = loop
        self.dead = False
        self.paused = False
        self.backlog: list[asyncio.Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.at_death: list[Callable[[], None]] = []
        self.serial = 0

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in this process."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        return self.loop.create_task(work, context=context)

    def pause(self) -> None:
        """Stop it where it stands, as SIGSTOP does."""
        self.paused = True

    def resume(self) -> None:
        """Let it go on, as SIGCONT does: first with all that has come due meanwhile."""
        self.paused = False
        self.loop.again(self.backlog)
        self.backlog = []

    def kill(self) -> None:
        """End it, as SIGKILL does: nothing that it still does reaches anyone (the clients see to that)."""
        self.dead = True
        self.resume()
        for what in self.at_death:
            what()
        for task in self.tasks:
            task.cancel()


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def current() -> Process:
    """The process that is running."""
    process = PROCESS.get()
    if process is None:
        raise AssertionError("no simulated process is running")
    return process


class SimLoop(asyncio.BaseEventLoop):
    """The loop; its private attributes are those of `asyncio.BaseEventLoop`."""

    _ready: Any
    _scheduled: Any
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 1.0
        self.steps = 0
        self.errors: list[dict[str, Any]] = []
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda _loop, context: self.errors.append(context))

    def time(self) -> float:
        """Simulated seconds."""
        return self._now

    def again(self, handles: list[asyncio.Handle]) -> None:
        """Run what was held back."""
        self._ready.extend(handles)

    def _make_task(self, _loop: Any, work: Any, context: Any = None) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=self, context=context)
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            process.tasks.append(task)
            if process.dead:
                task.cancel()
        return task

    def _write_to_self(self) -> None:
        """Nobody wakes this loop from another thread."""

    def _process_events(self, _events: Any) -> None:
        """There is no selector."""

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        if not ready and not self._stopping:
            if not scheduled:
                raise Stuck("every process waits for something that will never happen")
            self._now = max(self._now, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        self.steps += len(ready)
        if self.steps > MOST_STEPS:
            raise Stuck(f"{MOST_STEPS} steps, and no end")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None and process.paused:
                process.backlog.append(handle)
            else:
                handle._run()
