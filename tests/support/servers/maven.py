"""A Maven repository on this machine, which remembers what it was asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


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

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/maven/")
            repository.asked.append(path)
            content = repository.find(path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            """Nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        repository.url = f"http://127.0.0.1:{server.server_port}/maven"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield repository
        finally:
            server.shutdown()
            thread.join()


def of_folder(jars: Path) -> Callable[[str], bytes | None]:
    """The files of one folder, wherever in the repository they are asked for."""

    def find(path: str) -> bytes | None:
        file = jars / path.rpartition("/")[2]
        return file.read_bytes() if file.is_file() else None

    return find
