"""The part of the client for bulks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import quote

from stentor.client.files import WatchedFile, writing
from stentor.client.transport import Transport, problem_of, without_none

#: How long the API may take to check a file, in seconds; `STENTOR_BULK_WAIT_S` is at most this.
CHECK_S = 600.0


class BulkCalls:
    """Calls for bulks and their files."""

    http: Transport

    def submit_bulk(
        self, file: Path, fields: Mapping[str, Any], *, sent: Callable[[int], object] = lambda _: None
    ) -> dict[str, Any]:
        """Submit a file of texts, or check it in a dry run. ``sent`` is called with the number of bytes sent.

        Raises:
            Problem: the file is refused; ``errors`` has its first 100 errors.
        """
        form = {name: _as_text(value) for name, value in fields.items()}
        with file.open("rb") as opened:
            upload = {"file": (file.name, cast("IO[bytes]", WatchedFile(opened, sent)))}
            answer = self.http.request("POST", "/v1/bulks", data=form, files=upload, extra_s=CHECK_S)
        return cast("dict[str, Any]", answer.json())

    def bulk(self, bulk_id: str, *, wait_s: float = 0) -> dict[str, Any]:
        """The bulk; with ``wait_s``, wait up to that time for its end."""
        wait = {"wait": f"{wait_s:g}"} if wait_s else {}
        return cast("dict[str, Any]", self.http.request("GET", _path(bulk_id), params=wait, extra_s=wait_s).json())

    def bulks(self, *, state: str | None = None, limit: int | None = None, cursor: str | None = None) -> dict[str, Any]:
        """One page of the key's bulks, newest first: ``bulks`` and ``next_cursor``."""
        params = without_none({"state": state, "limit": limit, "cursor": cursor})
        answer = self.http.request("GET", "/v1/bulks", params=params)
        return cast("dict[str, Any]", answer.json())

    def move_bulk(self, bulk_id: str, order: str) -> dict[str, Any]:
        """Order a bulk to ``pause``, ``resume``, ``cancel`` or ``retry``; return the bulk."""
        return cast("dict[str, Any]", self.http.request("POST", f"{_path(bulk_id)}/{order}").json())

    def bulk_file(self, bulk_id: str, name: str) -> Iterator[bytes]:
        """A file of a bulk in pieces: ``manifest.jsonl``, ``manifest.csv`` or ``errors.csv``."""
        with self.http.transport_errors(), self.http.client.stream("GET", f"{_path(bulk_id)}/{name}") as answer:
            if answer.is_error:
                answer.read()
                raise problem_of(answer)
            yield from answer.iter_bytes()

    def save_bulk_file(self, bulk_id: str, name: str, path: Path) -> None:
        """Write a file of a bulk to ``path``, atomically."""
        with writing(path) as unfinished, unfinished.open("wb") as file:
            for piece in self.bulk_file(bulk_id, name):
                file.write(piece)


def _path(bulk_id: str) -> str:
    return f"/v1/bulks/{quote(bulk_id, safe='')}"


def _as_text(value: Any) -> str:
    """The text of a form field."""
    return value if isinstance(value, str) else json.dumps(value)
