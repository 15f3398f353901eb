"""HTTP load as a process of its own, so cheap that it takes little of the cores that it shares with the API.

``python -m tests.bench.load HOST PORT KEY SECONDS --connections N`` sends the next request on a connection as soon as
the answer before is there; ``--rate R`` instead sends R a second, whatever the answers do, each on a connection that is
free then, and counts an answer's time from the moment at which its request was due. The figures come as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

#: Texts are numbered from the clock, so that no two requests of any two runs are equal.
BODY = '{"text": "Parcel number %d arrives on Tuesday between nine and eleven in the morning."}'


class Connection(asyncio.Protocol):
    """One connection that is kept open; one request at a time."""

    def __init__(self) -> None:
        self._seen = b""
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, gap, body = self._seen.partition(b"\r\n\r\n")
        if not gap:
            return
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(body) >= length and self._answer is not None:
            self._seen = body[length:]
            answer, self._answer = self._answer, None
            answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None:
            self._answer.set_exception(exc or ConnectionError("the API closed the connection"))

    async def ask(self, request: bytes) -> int:
        """The status of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer


class Load:
    """Requests to one API, and how long each took."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._host, self._port = host, port
        self._head = (
            f"POST /v1/jobs HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._number = time.time_ns()
        self.statuses: dict[int, int] = {}
        self.took_s: list[float] = []

    async def connect(self) -> Connection:
        """One more connection."""
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, self._host, self._port))[1]

    async def one(self, connection: Connection, due_s: float) -> None:
        """One request."""
        self._number += 1
        body = (BODY % self._number).encode()
        status = await connection.ask(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        self.took_s.append(time.perf_counter() - due_s)
        self.statuses[status] = self.statuses.get(status, 0) + 1

    async def closed(self, connections: int, seconds: float) -> None:
        """As many as the API answers."""
        ends_s = time.perf_counter() + seconds

        async def keep_asking(connection: Connection) -> None:
            while (now_s := time.perf_counter()) < ends_s:
                await self.one(connection, now_s)

        await asyncio.gather(*[keep_asking(await self.connect()) for _ in range(connections)])

    async def open(self, rate: float, seconds: float) -> None:
        """``rate`` a second."""
        free: list[Connection] = []

        async def ask(due_s: float) -> None:
            connection = free.pop() if free else await self.connect()
            await self.one(connection, due_s)
            free.append(connection)

        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(round(rate * seconds)):
                due_s = began_s + number / rate
                await asyncio.sleep(due_s - time.perf_counter())
                group.create_task(ask(due_s))


def figures(load: Load, wall_s: float) -> dict[str, Any]:
    """What came of it."""
    took_ms = sorted(1000 * took_s for took_s in load.took_s)

    def quantile(share: float) -> float:
        return took_ms[min(len(took_ms) - 1, int(share * len(took_ms)))]

    return {
        "requests": len(took_ms),
        "statuses": {str(status): count for status, count in load.statuses.items()},
        "per_s": len(took_ms) / wall_s,
        "p50_ms": quantile(0.5),
        "p95_ms": quantile(0.95),
        "p99_ms": quantile(0.99),
        "max_ms": took_ms[-1],
        "load_cpu_s": time.process_time(),
    }


def main(arguments: list[str]) -> None:
    """Send requests and print figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("key")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float)
    asked = parser.parse_args(arguments)
    load = Load(asked.host, asked.port, asked.key)
    began_s = time.perf_counter()
    asyncio.run(load.open(asked.rate, asked.seconds) if asked.rate else load.closed(asked.connections, asked.seconds))
    print(json.dumps(figures(load, time.perf_counter() - began_s)))


if __name__ == "__main__":
    main(sys.argv[1:])
