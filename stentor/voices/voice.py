"""Voices: the named ways to speak that engines offer and clients choose from."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voice:
    """One named way to speak.

    ``name`` is the value of a job's ``voice``. ``model`` names its weights; lanes and residency depend on it.
    """

    name: str
    model: str
    engine: str
    languages: tuple[str, ...]
    sample_rate_hz: int
    speaker: str | None = None
    description: str = ""
    #: Whether the model can clone the voice of a recording.
    cloning: bool = False
    #: Id and S3 key of the uploaded recording to clone; None for a voice that the model ships.
    recording: str | None = None
    recording_key: str | None = None
    #: Changes with the weights, so that cached audio of older weights is not used for new jobs.
    revision: str = ""

    def to_json(self) -> str:
        """The voice as one line of JSON, the form that Redis stores."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> Voice:
        """The voice that ``to_json`` wrote; fields that this release does not know are ignored."""
        data: dict[str, Any] = json.loads(line)
        known = {field.name for field in dataclasses.fields(cls)}
        data["languages"] = tuple(data["languages"])
        return cls(**{name: value for name, value in data.items() if name in known})
