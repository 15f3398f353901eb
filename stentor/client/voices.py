"""The part of the client for voices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from stentor.client.transport import Transport


class VoiceCalls:
    """Calls for voices."""

    http: Transport

    def voices(self) -> list[dict[str, Any]]:
        """All voices."""
        return cast("list[dict[str, Any]]", self.http.request("GET", "/v1/voices").json()["voices"])

    def add_voice(self, recording: Path, fields: Mapping[str, str]) -> dict[str, Any]:
        """Upload a recording as a voice; return the voice after its check (or still ``checking``).

        ``fields`` are ``name``, ``consent``, ``language`` and, if known, ``transcript``.
        """
        files = {"audio": (recording.name, recording.read_bytes())}
        answer = self.http.request("POST", "/v1/voices", data=dict(fields), files=files)
        return cast("dict[str, Any]", answer.json())

    def delete_voice(self, name: str) -> dict[str, Any]:
        """Delete the uploaded voice with this name or id, and return it."""
        return cast("dict[str, Any]", self.http.request("DELETE", f"/v1/voices/{quote(name, safe='')}").json())

    def voice_preview(self, name: str) -> bytes:
        """The stored audio of an uploaded voice, as a WAV file."""
        return self.http.request("GET", f"/v1/voices/{quote(name, safe='')}/preview", params={"inline": "1"}).content
