"""Progress bars, shown on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes read so far and the file's size, None if it is unknown."""


@contextmanager
def bytes_progress(console: Console, doing: str) -> Iterator[OnBytes | None]:
    """A progress bar by bytes; gives None where there is no terminal."""
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn(doing),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(doing, total=None)

        def on_bytes(done: int, size: int | None) -> None:
            progress.update(task, completed=done, total=size)

        yield on_bytes


@contextmanager
def records_progress(console: Console, doing: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar by records; gives a function of the records read so far and their total, or None."""
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
