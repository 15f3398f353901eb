"""Jobs as Redis keeps them: a hash for each, with its speech parameters as one field of JSON."""

from __future__ import annotations

from collections.abc import Mapping

from stentor.jobs.job import Job
from stentor.redis.record import encode, from_fields, to_items
from stentor.speech import SpeechParams


def job_items(job: Job) -> list[str]:
    """The job's hash as ``HSET`` takes it: name, value, name, value.

    It has the voice once more: release 0.1.0 shows no job without it. It goes with the release after the next.
    """
    return [*to_items(job), "voice", job.speech.voice]


def read_job(fields: Mapping[str, str]) -> Job:
    """The job of a hash, also of one of version 1: there each speech parameter is a field of the hash."""
    if "speech" not in fields:
        fields = {**fields, "speech": encode(from_fields(SpeechParams, fields))}
    return from_fields(Job, fields)
