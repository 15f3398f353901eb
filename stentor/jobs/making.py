"""Making a job of a text and a voice: it finds its lane, and what it shares with equal ones."""

from __future__ import annotations

from typing import Any

from stentor.jobs.cache import fingerprint
from stentor.jobs.job import VERSION, Job
from stentor.jobs.lanes import Lane
from stentor.settings import Settings
from stentor.voices.voice import Voice


def make_job(
    *,
    text: str,
    voice: Voice,
    priority: str,
    speed: float,
    seed: int,
    format: str,  # noqa: A002 - the word that jobs and HTTP have for it
    sample_rate_hz: int | None,
    cache: bool,
    settings: Settings,
    **rest: Any,
) -> Job:
    """A queued job that speaks ``text``, which is cleaned; ``rest`` are fields of it that do not bear on its audio.

    Without ``cache``, or where the settings turn it off, it gets audio of its own.
    """
    equal = None
    if cache and settings.cache == "on":
        equal = fingerprint(
            text=text,
            voice=voice,
            speed=speed,
            seed=seed,
            format=format,
            sample_rate_hz=sample_rate_hz,
            loudness_lufs=settings.loudness_lufs,
        )
    return Job(
        version=VERSION,
        text=text,
        voice=voice.name,
        recording=voice.recording,
        recording_key=voice.recording_key,
        model=voice.model,
        lane=Lane.of(model=voice.model, priority=priority, text_chars=len(text)).key,
        priority=priority,
        speed=speed,
        seed=seed,
        format=format,
        sample_rate_hz=sample_rate_hz,
        fingerprint=equal,
        **rest,
    )
