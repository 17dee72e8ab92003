"""A Maven repository on this machine, which remembers what it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.servers.http import Answering, listening


@dataclass
class Repository:
    """What it serves, by path, and every path that was asked for.

    Attributes:
        url: where it is, once it runs.
        find: the content at a path, None where there is nothing.
        asked: the paths, in the order of the questions.
    """

    find: Callable[[str], bytes | None]
    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(find: Callable[[str], bytes | None]) -> Iterator[Repository]:
    """A repository that answers with what `find` gives for a path such as `org/x/a/1/a-1.jar`."""
    repository = Repository(find)

    class Handler(Answering):
        def do_GET(self) -> None:  # noqa: N802 (the base class calls it)
            path = self.path.removeprefix("/maven/")
            repository.asked.append(path)
            content = repository.find(path)
            self.answer(404 if content is None else 200, content or b"")

    with listening(Handler) as address:
        repository.url = f"{address}/maven"
        yield repository


def of_folder(jars: Path) -> Callable[[str], bytes | None]:
    """The files of one folder, wherever in the repository they are asked for."""

    def find(path: str) -> bytes | None:
        file = jars / path.rpartition("/")[2]
        return file.read_bytes() if file.is_file() else None

    return find
