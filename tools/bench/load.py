"""Sends requests at a constant rate, however slow the answers are (open loop), and times each."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Results:
    """Seconds from the time when each request was due until its whole answer, and statuses."""

    seconds: list[float] = field(default_factory=list)
    by_operation: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def errors(self) -> int:
        """Requests that were not answered with success."""
        return sum(count for status, count in self.statuses.items() if not 200 <= status < 300)


class Client:
    """HTTP/1.1 over connections that stay open, in few lines: a library would take as long as the API.

    `sent` is how many requests it has sent.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[_Connection] = []
        self.sent = 0

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request's bytes; returns the answer's status and body. Status 0: no answer came."""
        self.sent += 1
        reader, writer = self._idle.pop() if self._idle else await self._open()
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return 0, b""
        self._idle.append((reader, writer))
        return int(head[9:12]), body

    async def _open(self) -> _Connection:
        return await asyncio.open_connection(self._host, self._port)

    async def close(self) -> None:
        """Close the connections."""
        for _, writer in self._idle:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def _length(head: bytes) -> int:
    lower = head.lower()
    start = lower.index(b"content-length:") + 15
    return int(lower[start : lower.index(b"\r\n", start)])


def request(method: str, path: str, host: str, token: str, body: bytes = b"") -> bytes:
    """A request's bytes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def run(client: Client, requests: Iterator[tuple[str, bytes]], rate: float, seconds: float) -> Results:
    """Send one request every ``1 / rate`` seconds for so long, and wait for the last answers."""
    results, tasks = Results(), set[asyncio.Task[None]]()
    began = time.perf_counter()
    for number in range(round(rate * seconds)):
        due = began + number / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        operation, raw = next(requests)
        task = asyncio.create_task(_send(client, operation, raw, due, results))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return results


async def _send(client: Client, operation: str, raw: bytes, due: float, results: Results) -> None:
    status, _ = await client.send(raw)
    taken = time.perf_counter() - due
    results.seconds.append(taken)
    results.by_operation.setdefault(operation, []).append(taken)
    results.statuses[status] += 1
