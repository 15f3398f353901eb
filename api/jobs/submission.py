"""From requests to jobs: texts cleaned, voices looked up, lanes chosen, every wrong field named."""

from __future__ import annotations

import time
from collections.abc import Sequence

from api.http.idempotency import new_id
from api.http.problems import Invalid
from api.jobs.schemas import JobRequest
from api.services import Services
from stentor.errors import RequestError, TooManyJobs
from stentor.jobs.job import Job
from stentor.jobs.making import make_job
from stentor.owners.access import ApiKey
from stentor.settings import Settings
from stentor.text import clean
from stentor.voices.voice import Voice
from stentor.webhooks.webhook import RESOLVE_S, check_url


def check_count(count: int, settings: Settings) -> None:
    """Refuse more jobs than one submission may have.

    Raises:
        TooManyJobs: there are more.
    """
    if count > settings.max_jobs_per_request:
        raise TooManyJobs(f"The request has {count} jobs. At most {settings.max_jobs_per_request} are allowed.")


def jobs_from(requests: Sequence[JobRequest], *, key: ApiKey, services: Services, many: bool) -> list[Job]:
    """A job for each request, in order; none is stored yet.

    Raises:
        TooManyJobs: more requests than one submission may have.
        Invalid: texts, voices or URLs that are wrong; all of them are named.
        VoicesUnknown, RedisUnavailable: voices cannot be looked up.
    """
    check_count(len(requests), services.settings)
    jobs: list[Job] = []
    wrong: list[dict[str, str]] = []
    urls = _Urls(services.settings.webhook_allow)
    for at, request in enumerate(requests):
        place = f"jobs.{at}." if many else ""
        try:
            field = "text"
            text = clean(request.text, max_chars=services.settings.max_text_chars)
            field = "voice"
            name = getattr(request, "voice", None) or services.settings.default_voice
            voice = services.voices.get(name, key.owner)
            field = "webhook_url"
            urls.check(request.webhook_url)
        except RequestError as exc:
            wrong.append({"field": f"{place}{field}", "code": exc.code, "detail": exc.detail})
            continue
        job_id = new_id("job", at)
        jobs.append(_job(request, job_id=job_id, text=text, voice=voice, key=key, settings=services.settings))
    if wrong:
        raise Invalid(wrong)
    return jobs


class _Urls:
    """Checks the URLs of one request, each once. All their names together are waited for as long as one."""

    def __init__(self, allow: str | None) -> None:
        self._allow = allow
        self._until = time.monotonic() + RESOLVE_S
        self._good: set[str] = set()

    def check(self, url: str | None) -> None:
        """Refuse a URL that must not be called."""
        if url is not None and url not in self._good:
            check_url(url, self._allow, until=self._until)
            self._good.add(url)


def _job(request: JobRequest, *, job_id: str, text: str, voice: Voice, key: ApiKey, settings: Settings) -> Job:
    return make_job(
        id=job_id,
        owner=key.owner,
        key_id=key.id,
        text=text,
        voice=voice,
        priority=request.priority,
        speech=request.speech(voice.name),
        cache=request.cache,
        settings=settings,
        metadata=request.metadata,
        webhook_url=request.webhook_url,
    )
