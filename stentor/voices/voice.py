"""Voices: the named ways to speak that engines offer and clients choose from."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voice:
    """One named way to speak.

    ``name`` is what a job says in ``voice``. ``model`` is the weights that speak it: lanes and residency go by it.
    """

    name: str
    model: str
    engine: str
    languages: tuple[str, ...]
    sample_rate_hz: int
    speaker: str | None = None
    description: str = ""
    #: Whether the model also speaks with the voice of a recording.
    cloning: bool = False
    #: The uploaded recording that is to be cloned, by its id, and its S3 key; None for a voice that the model ships.
    recording: str | None = None
    recording_key: str | None = None
    #: Changes when the weights do, so that audio of older ones is not given out for new jobs.
    revision: str = ""

    def to_json(self) -> str:
        """The voice as one line of JSON, the form in which Redis keeps it."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> Voice:
        """The voice that ``to_json`` wrote; fields that this release does not know are passed over."""
        data: dict[str, Any] = json.loads(line)
        known = {field.name for field in dataclasses.fields(cls)}
        data["languages"] = tuple(data["languages"])
        return cls(**{name: value for name, value in data.items() if name in known})
