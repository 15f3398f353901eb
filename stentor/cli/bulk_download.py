"""Downloads the audio of a bulk into a folder, several files at a time, without those that are there already."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stentor.bulks.audio_names import audio_name
from stentor.client import Client, Problem

#: Number of simultaneous downloads, and of manifest lines that are read ahead.
THREADS, AHEAD = 8, 64
#: Maximum number of failed rows that are listed.
MAX_FAILURES = 100


@dataclasses.dataclass
class Download:
    """The result of a download."""

    fetched: int = 0
    #: Files that were there already with the same content.
    kept: int = 0
    #: The first rows without audio, and why.
    failures: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def download(client: Client, bulk_id: str, folder: Path, done: Callable[[], object]) -> Download:
    """Fetch the audio of all rows that succeeded, and the manifest as ``manifest.csv``; ``done`` is called per row.

    A second call fetches only what is missing or differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    client.save_bulk_file(bulk_id, "manifest.csv", folder / "manifest.csv")
    result = Download()
    ahead: collections.deque[tuple[dict[str, Any], Future[bool]]] = collections.deque()

    def take() -> None:
        line, future = ahead.popleft()
        try:
            if future.result():
                result.fetched += 1
            else:
                result.kept += 1
        except Problem as problem:
            _fail(result, line, problem.code, problem.detail)
        done()

    with ThreadPoolExecutor(THREADS, thread_name_prefix="fetch") as pool:
        try:
            for line in _lines(client, bulk_id):
                if line["state"] != "succeeded":
                    _fail(result, line, line.get("error_code", line["state"]), line.get("error_detail", ""))
                    done()
                    continue
                if len(ahead) >= AHEAD:
                    take()
                ahead.append((line, pool.submit(_fetch, client, line, folder)))
            while ahead:
                take()
        finally:
            pool.shutdown(cancel_futures=True)
    return result


def _fail(result: Download, line: dict[str, Any], code: str, detail: str) -> None:
    if len(result.failures) < MAX_FAILURES:
        result.failures.append({"row": line["row"], "id": line["id"], "code": code, "detail": detail})


def _lines(client: Client, bulk_id: str) -> Iterator[dict[str, Any]]:
    left = b""
    for piece in client.bulk_file(bulk_id, "manifest.jsonl"):
        *whole, left = (left + piece).split(b"\n")
        yield from map(json.loads, whole)


def _fetch(client: Client, line: dict[str, Any], folder: Path) -> bool:
    """Fetch the audio of a row, unless the file is there; whether it was fetched."""
    path = folder / audio_name(line)
    if path.is_file() and _sha256(path) == line["sha256"]:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    client.save_audio(line["job_id"], path)
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
