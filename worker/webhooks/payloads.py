"""Bodies of webhooks: small, and rendered from the current record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from stentor.bulks.bulk import Bulk
from stentor.jobs.job import Job
from stentor.jobs.records import read_job
from stentor.redis.record import from_fields
from stentor.webhooks.webhook import PING, PROGRESS, Event, event_id

#: A body has fewer bytes: receivers may refuse larger ones (Standard Webhooks 1.0.0).
MAX_BYTES: Final = 20_000
#: Longest sentence of an error, and longest name of a bulk, in a webhook.
MAX_SENTENCE_CHARS: Final = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Message:
    """An event as it is sent to all its endpoints."""

    id: str
    type: str
    owner: str
    body: str
    #: The address that came with the job or bulk, if it receives this event.
    webhook_url: str | None = None
    #: The endpoint that a ping is for; None for what is for all that hear of it.
    endpoint: str | None = None


def message(event: Event, fields: Mapping[str, str], *, public_url: str | None, now: float) -> Message | None:
    """The message of an event, given the hash of the job or bulk; None if the record is gone."""
    base = (public_url or "").rstrip("/")
    if event.type == PING:
        body = _body(event.type, now, {"id": event.id})
        moment = event.entry
        return _message(event, moment, body, endpoint=event.id)
    if fields.get("owner") != event.owner:
        return None
    if event.type.startswith("job."):
        return _of_job(event, read_job(fields), base)
    return _of_bulk(event, from_fields(Bulk, fields), base, now)


def _of_job(event: Event, job: Job, base: str) -> Message | None:
    if not job.settled or job.settled_at is None:
        return None
    error = None
    if job.error_code is not None:
        detail = (job.error_detail or "")[:MAX_SENTENCE_CHARS]
        error = {"code": job.error_code, "detail": detail, "retryable": bool(job.error_retryable)}
    data = {
        "id": job.id,
        "state": job.state,
        "voice": job.speech.voice,
        "audio_s": job.audio_s,
        "audio_bytes": job.audio_bytes,
        "sha256": job.sha256,
        "cached": job.cached,
        "metadata": dict(job.metadata),
        "error": error,
        "url": f"{base}/v1/jobs/{job.id}",
    }
    body = _body(event.type, job.settled_at, data)
    return _message(event, str(job.settled_at), body, webhook_url=job.webhook_url)


def _of_bulk(event: Event, bulk: Bulk, base: str, now: float) -> Message | None:
    progress = event.type == PROGRESS
    if progress == bulk.ended:
        return None  # progress of what has ended since, or the end of what was taken up again
    data = {
        "id": bulk.id,
        "state": bulk.state,
        "name": bulk.name[:MAX_SENTENCE_CHARS],
        "counts": {
            "rows": bulk.rows,
            "succeeded": bulk.succeeded,
            "failed": bulk.failed,
            "canceled": bulk.canceled_rows(),
        },
        "audio_s": bulk.audio_s,
        "metadata": dict(bulk.metadata),
        "error": _error(bulk),
        "url": f"{base}/v1/bulks/{bulk.id}",
    }
    notified = bulk.webhook_progress or not progress
    # Two looks at a bulk of which nothing was settled in between tell the same.
    moment = f"{bulk.retries}/{bulk.settled}" if progress else str(bulk.settled_at)
    body = _body(event.type, bulk.settled_at or now, data)
    return _message(event, moment, body, webhook_url=bulk.webhook_url if notified else None)


def _error(bulk: Bulk) -> dict[str, Any] | None:
    if bulk.error_code is None:
        return None
    detail = (bulk.error_detail or "")[:MAX_SENTENCE_CHARS]
    return {"code": bulk.error_code, "detail": detail, "retryable": False}


def _message(event: Event, moment: str, body: str, **rest: str | None) -> Message:
    message_id = event_id(event.type, event.id, moment)
    return Message(id=message_id, type=event.type, owner=event.owner, body=body, **rest)


def _body(kind: str, at: float, data: Mapping[str, Any]) -> str:
    payload: dict[str, Any] = {"type": kind, "timestamp": _rfc3339(at), "data": dict(data)}
    body = _dump(payload)
    if len(body.encode()) >= MAX_BYTES:
        # Only metadata can be so large; the url has all of it.
        payload["data"] |= {"metadata": {}, "metadata_omitted": True}
        body = _dump(payload)
    return body


def _dump(payload: Mapping[str, Any]) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
