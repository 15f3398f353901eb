"""The part of the client for jobs and their audio."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx

from stentor.client.files import writing
from stentor.client.transport import ANSWER_TIMEOUT_S, Transport, is_loopback, without_none
from stentor.client.types import JobJson, JobPageJson

#: States in which a job has its outcome.
SETTLED = frozenset({"succeeded", "failed", "canceled"})
#: How long one request waits for an outcome, in seconds; a longer wait takes several requests.
WAIT_STEP_S = 20.0


class JobCalls:
    """Calls for jobs and their audio."""

    http: Transport

    def submit_job(self, job: Mapping[str, Any]) -> JobJson:
        """Submit one job."""
        return cast("JobJson", self.http.request("POST", "/v1/jobs", json=dict(job)).json())

    def submit_jobs(self, jobs: Sequence[Mapping[str, Any]]) -> list[JobJson]:
        """Submit up to 1000 jobs in one request, all or none; the answers are in the same order."""
        answer = self.http.request("POST", "/v1/jobs", json={"jobs": list(jobs)})
        return cast("list[JobJson]", answer.json()["jobs"])

    def job(self, job_id: str, *, wait_s: float = 0) -> JobJson:
        """The job; with ``wait_s``, wait up to that time for its outcome."""
        wait = {"wait": f"{wait_s:g}"} if wait_s else {}
        answer = self.http.request("GET", f"/v1/jobs/{quote(job_id, safe='')}", params=wait, extra_s=wait_s)
        return cast("JobJson", answer.json())

    def settled_job(self, job_id: str, *, timeout_s: float = float("inf")) -> JobJson:
        """Wait for the outcome of the job, up to ``timeout_s``, and return the job."""
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            job = self.job(job_id, wait_s=max(0.0, min(WAIT_STEP_S, left_s)))
            if job["state"] in SETTLED or left_s <= 0:
                return job

    def jobs(self, *, state: str | None = None, limit: int | None = None, cursor: str | None = None) -> JobPageJson:
        """One page of the key's jobs, newest first."""
        params = without_none({"state": state, "limit": limit, "cursor": cursor})
        answer = self.http.request("GET", "/v1/jobs", params=params)
        return cast("JobPageJson", answer.json())

    def cancel(self, job_id: str) -> JobJson:
        """Cancel a job that has not been spoken yet."""
        return cast("JobJson", self.http.request("DELETE", f"/v1/jobs/{quote(job_id, safe='')}").json())

    def audio(self, job_id: str) -> bytes:
        """The audio file of a job that succeeded."""
        path = f"/v1/jobs/{quote(job_id, safe='')}/audio"
        answer = self.http.request("GET", path)
        if not answer.is_redirect:
            return answer.content
        with contextlib.suppress(httpx.TransportError):
            # No API key here: S3 refuses a request with a presigned URL and a second authentication.
            stored = httpx.get(
                answer.headers["Location"],
                timeout=ANSWER_TIMEOUT_S,
                trust_env=not is_loopback(answer.headers["Location"]),
            )
            if stored.is_success:
                return stored.content
        # S3 is not reachable from here (it is on another machine's loopback), so get the audio through the API.
        return self.http.request("GET", path, params={"inline": "1"}).content

    def save_audio(self, job_id: str, path: Path) -> int:
        """Write the audio of a job to ``path``, atomically; return the number of bytes."""
        body = self.audio(job_id)
        with writing(path) as unfinished:
            unfinished.write_bytes(body)
        return len(body)
