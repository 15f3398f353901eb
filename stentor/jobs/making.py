"""Making a job of a text, a voice and speech parameters: its lane, and what it shares with equal jobs."""

from __future__ import annotations

from typing import Any

from stentor.jobs.cache import fingerprint
from stentor.jobs.job import VERSION, Job, Priority
from stentor.jobs.lanes import Lane
from stentor.settings import Settings
from stentor.speech import SpeechParams
from stentor.voices.voice import Voice


def make_job(
    *, text: str, voice: Voice, speech: SpeechParams, priority: Priority, cache: bool, settings: Settings, **rest: Any
) -> Job:
    """A queued job that speaks ``text``, which is cleaned; ``rest`` are fields of it that do not shape its audio.

    ``speech`` names ``voice``. Without ``cache``, or where the settings turn it off, the job gets audio of its own.
    """
    equal = None
    if cache and settings.cache == "on":
        equal = fingerprint(text=text, voice=voice, speech=speech, loudness_lufs=settings.loudness_lufs)
    return Job(
        version=VERSION,
        text=text,
        speech=speech,
        recording=voice.recording,
        recording_key=voice.recording_key,
        model=voice.model,
        lane=Lane.of(model=voice.model, priority=priority, text_chars=len(text)).key,
        priority=priority,
        fingerprint=equal,
        **rest,
    )
