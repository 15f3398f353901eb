"""Equal jobs: what makes the audio of two jobs the same, so that it is spoken once."""

from __future__ import annotations

import hashlib
import json

from stentor.voices.voice import Voice

#: Part of every fingerprint. A release whose audio differs from that of the one before raises it.
GENERATION = 1


def fingerprint(
    *,
    text: str,
    voice: Voice,
    speed: float,
    seed: int,
    format: str,  # noqa: A002 - the word that jobs and HTTP have for it
    sample_rate_hz: int | None,
    loudness_lufs: float | None,
) -> str:
    """What jobs with the same audio share, as 64 hexadecimal digits. ``text`` is cleaned."""
    parts = [
        GENERATION,
        voice.model,
        voice.revision,
        voice.name,
        float(speed),
        seed,
        format,
        sample_rate_hz or voice.sample_rate_hz,
        loudness_lufs,
        text,
    ]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()
