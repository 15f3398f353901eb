"""`/v1/jobs`: submit, look, wait, list, fetch, cancel."""

from __future__ import annotations

from typing import Any

from flask import Response, redirect, request, url_for
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from api.http.auth import authorize, key, owner
from api.http.limits import limits_of
from api.jobs import rows
from api.jobs.rows import find_job
from api.jobs.schemas import (
    GetAudioQuery,
    GetJobQuery,
    JobOut,
    JobPageOut,
    JobPath,
    JobRequest,
    ListJobsQuery,
    SubmitRequest,
    SubmittedOut,
)
from api.jobs.submission import check_count, jobs_from
from api.services import services
from api.waiting.waits import wait_for
from stentor import log
from stentor.errors import AudioNotFound, AudioNotReady, RedisUnavailable
from stentor.formats import FORMATS
from stentor.jobs.job import Job, JobState

_log = log.get(__name__)

blueprint = APIBlueprint(
    "jobs", __name__, url_prefix="/v1/jobs", abp_tags=[Tag(name="jobs")], abp_security=[{"key": []}]
)
blueprint.before_request(authorize())


@blueprint.before_request
def count_jobs() -> None:
    """Refuse a request with too many jobs before each of them is checked.

    Raises:
        TooManyJobs: there are more than one request may have.
    """
    if request.endpoint == "jobs.submit_jobs":
        jobs = request.get_json().get("jobs")
        check_count(len(jobs) if isinstance(jobs, list) else 0, services().settings)


@blueprint.post("", responses={202: SubmittedOut})
def submit_jobs(body: SubmitRequest) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Submit one text, or up to 1,000 under `jobs`.

    When this answers, the jobs are on disk: they will be spoken even if every process dies now.
    """
    many = not isinstance(body.root, JobRequest)
    requests = [body.root] if isinstance(body.root, JobRequest) else body.root.jobs
    jobs = jobs_from(requests, key=key(), services=services(), many=many)
    jobs = services().jobs.submit(jobs, limits=limits_of(key()), ring=ring)
    shown = [_shown(job) for job in jobs]
    if many:
        return {"jobs": shown}, 202, {}
    return shown[0], 202, {"Location": url_for("jobs.get_job", job_id=jobs[0].id)}


@blueprint.get("", responses={200: JobPageOut})
def list_jobs(query: ListJobsQuery) -> dict[str, Any]:
    """List your jobs, newest first."""
    states = [query.state] if query.state else tuple(JobState)
    page = services().jobs.list(owner(), states=states, limit=query.limit, after=query.cursor)
    return {"jobs": [_shown(job) for job in page.jobs], "next_cursor": page.next_cursor}


@blueprint.get("/<job_id>", responses={200: JobOut})
def get_job(path: JobPath, query: GetJobQuery) -> dict[str, Any]:
    """Look at a job; with `wait`, wait for its outcome first."""
    name = owner()
    wait_s = min(query.wait, services().settings.max_wait_s)
    job = wait_for(path.job_id, lambda: find_job(path.job_id, name), wait_s, over=lambda found: found.settled)
    return _shown(job)


@blueprint.delete("/<job_id>", responses={200: JobOut})
def cancel_job(path: JobPath) -> dict[str, Any]:
    """Cancel a job that has no outcome yet."""
    return _shown(rows.cancel_job(path.job_id, owner()))


@blueprint.get("/<job_id>/audio")
def get_audio(path: JobPath, query: GetAudioQuery) -> Any:
    """Fetch a job's audio: a redirect to the storage, or the bytes with `inline=1`."""
    job = find_job(path.job_id, owner())
    key = _audio_key(job)
    if not query.inline:
        return redirect(_url(job, key))
    form = FORMATS[job.speech.format]
    response = Response(services().storage.stream(key), mimetype=form.content_type)
    response.headers["Content-Length"] = str(job.audio_bytes)
    response.set_etag(job.sha256 or "")
    response.headers["Content-Disposition"] = f'inline; filename="{_filename(job)}"'
    response.headers["Cache-Control"] = "private, no-cache"
    return response.make_conditional(request, accept_ranges=True, complete_length=job.audio_bytes)


def ring() -> None:
    """Tell the devices that there is work; a bell that is not heard is rung again by the scheduler."""
    try:
        services().doorbell.call()
    except RedisUnavailable as exc:
        # The jobs are in: the scheduler rings for what waits.
        _log.warning("doorbell_not_rung", reason=exc.detail)


def _shown(job: Job) -> dict[str, Any]:
    url = _url(job, job.audio_key) if job.state == JobState.SUCCEEDED and job.audio_key else None
    return JobOut.of(job, url).model_dump(mode="json")


def _audio_key(job: Job) -> str:
    if not job.settled:
        raise AudioNotReady(f"the job is {job.state}; its audio is there when it has succeeded")
    if job.audio_key is None:
        raise AudioNotFound(f"the job {job.state}; it has no audio")
    return job.audio_key


def _filename(job: Job) -> str:
    return f"{job.id}.{FORMATS[job.speech.format].extension}"


def _url(job: Job, key: str) -> str:
    return services().storage.url(key, filename=_filename(job), content_type=FORMATS[job.speech.format].content_type)
