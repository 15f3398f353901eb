"""Every Redis key of Stentor, in one place.

| key                                     | type   | what it holds |
|-----------------------------------------|--------|---------------|
| stentor:job:<id>                        | hash   | a job; its fields are those of ``stentor.job.Job`` |
| stentor:jobs:<owner>:<index>            | zset   | ids at score 0: ``open`` (no outcome yet), or jobs of a state |
| stentor:lane:<model>:<priority>:<class> | stream | waiting and claimed jobs as ``{job: id}``; one group |
| stentor:lanes                           | set    | keys of all lanes that ever held a job |
| stentor:voices                          | hash   | voice name -> the voice as JSON, registered by workers |
| stentor:keys                            | hash   | SHA-256 of an API key -> whose it is, as JSON |
| stentor:devices                         | set    | ids of all devices that ever reported |
| stentor:device:<id>                     | hash   | what a device reported last |
| stentor:wanted:<id>                     | string | the residency that was ordered for a device |
| stentor:budget:<id>                     | hash   | model -> the batch budget that a device has learned |
| stentor:cache:<fingerprint>             | hash   | where the audio of an equal job lies; expires |
| stentor:events                          | stream | outcomes as they are settled, capped; requests wait on it |
| stentor:beat:<process>:<host>           | string | heartbeat of a process without a device; expires |
| stentor:celery:*                        |        | Celery's own: queues ``synthesis``, ``io``, one per device |
"""

from __future__ import annotations

#: Prefix of all keys of Celery's broker.
CELERY_PREFIX = "stentor:celery:"
CACHE_PREFIX = "stentor:cache:"
LANES = "stentor:lanes"
#: Index of the jobs that have no outcome. Claiming does not touch it, so that a claim costs the same at any depth.
OPEN = "open"
VOICES = "stentor:voices"
API_KEYS = "stentor:keys"
DEVICES = "stentor:devices"
EVENTS = "stentor:events"
#: The one consumer group of every lane.
GROUP = "devices"


def job(job_id: str) -> str:
    """Key of a job's hash."""
    return f"stentor:job:{job_id}"


def jobs(owner: str, index: str) -> str:
    """Key of an index of an owner's jobs: ``OPEN``, or a state other than queued."""
    return f"stentor:jobs:{owner}:{index}"


def device(device_id: str) -> str:
    """Key of what a device reported last."""
    return f"stentor:device:{device_id}"


def wanted(device_id: str) -> str:
    """Key of the residency that was ordered for a device."""
    return f"stentor:wanted:{device_id}"


def budgets(device_id: str) -> str:
    """Key of the batch budgets that a device has learned."""
    return f"stentor:budget:{device_id}"


def cache(fingerprint: str) -> str:
    """Key of what is known of the audio of equal jobs."""
    return f"{CACHE_PREFIX}{fingerprint}"


def beat(process: str, host: str) -> str:
    """Key of the heartbeat of a process without a device (``io``, ``scheduler``)."""
    return f"stentor:beat:{process}:{host}"


def queue(name: str) -> str:
    """Key of a Celery queue's list of messages."""
    return f"{CELERY_PREFIX}{name}"
