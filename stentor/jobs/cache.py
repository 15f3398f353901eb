"""Equal jobs: what makes the audio of two jobs the same, so that it is spoken once."""

from __future__ import annotations

import hashlib
import json

from stentor.speech import FIRST_FIELDS, SpeechParams, added_defaults
from stentor.voices.voice import Voice

#: Part of every fingerprint. A release whose audio differs from that of the one before raises it.
GENERATION = 1


def fingerprint(*, text: str, voice: Voice, speech: SpeechParams, loudness_lufs: float | None) -> str:
    """What jobs with the same audio share, as 64 hexadecimal digits. ``text`` is cleaned.

    Every field of ``speech`` is part of it. One that a later release adds is so where it differs from its default, and
    leaves the fingerprints of all other texts as they are.
    """
    values = speech.values()
    values |= {
        "voice": voice.name,
        "speed": float(speech.speed),
        "sample_rate_hz": speech.sample_rate_hz or voice.sample_rate_hz,
    }
    first = [values[name] for name in FIRST_FIELDS]
    parts = [GENERATION, voice.model, voice.revision, *first, loudness_lufs, text]
    added = {name: values[name] for name, default in added_defaults(type(speech)).items() if values[name] != default}
    if added:
        parts.append(added)
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()
