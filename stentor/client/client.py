"""A client of the HTTP API: what the command line uses, and what programs may use."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast
from urllib.parse import quote

import httpx

from stentor.client.types import JobJson, JobPage
from stentor.errors import ApiUnavailable, IdempotencyInFlight, Problem

#: States in which a job has its outcome.
SETTLED = frozenset({"succeeded", "failed", "canceled"})
CONNECT_TIMEOUT_S = 5.0
#: How long an answer may take beyond the wait that was asked for.
ANSWER_TIMEOUT_S = 60.0
#: How long a service that is away or says 503 is tried again, and the pause when it does not say how long.
PATIENCE_S, PAUSE_S = 30.0, 0.5
#: How long the API may wait for a file to be checked; `STENTOR_BULK_WAIT_S` is no more.
CHECK_S = 600.0
#: One request waits so long for an outcome; waiting longer takes more requests.
WAIT_STEP_S = 20.0
#: Failures after which nobody can have carried out the request, and those after which somebody may have.
_NEVER_ARRIVED = (httpx.ConnectError, httpx.ConnectTimeout)
_LOST = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.TimeoutException)


class Client:
    """Talks to one API with one key. Safe for threads.

    A service that is away, or answers 429 or 503, is tried again for ``patience_s``, unless it says that this would be
    too early. So is a request whose answer was lost on the way: every POST carries an idempotency key, so that what had
    been carried out is not carried out twice. (A DELETE is not sent again: the second would be refused.)

    Raises:
        ApiUnavailable: from every method, when the API does not answer.
        Problem: from every method, when it refuses.
    """

    def __init__(self, url: str, key: str, *, patience_s: float = PATIENCE_S) -> None:
        self.url = url
        self._patience_s = patience_s
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # The proxy of this machine is not for a server on loopback.
            trust_env=not _is_loopback(url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit_job(self, job: Mapping[str, Any]) -> JobJson:
        """Submit one job."""
        return cast("JobJson", self._request("POST", "/v1/jobs", json=dict(job)).json())

    def submit_jobs(self, jobs: Sequence[Mapping[str, Any]]) -> list[JobJson]:
        """Submit up to 1000 jobs in one request; they answer in the order given. All are taken, or none."""
        answer = self._request("POST", "/v1/jobs", json={"jobs": list(jobs)})
        return cast("list[JobJson]", answer.json()["jobs"])

    def job(self, job_id: str, *, wait_s: float = 0) -> JobJson:
        """The job; with ``wait_s`` as soon as it has its outcome, or after that time."""
        wait = {"wait": f"{wait_s:g}"} if wait_s else {}
        answer = self._request("GET", f"/v1/jobs/{quote(job_id, safe='')}", params=wait, extra_s=wait_s)
        return cast("JobJson", answer.json())

    def settled_job(self, job_id: str, *, timeout_s: float = float("inf")) -> JobJson:
        """The job when it has its outcome, or as it is after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            job = self.job(job_id, wait_s=max(0.0, min(WAIT_STEP_S, left_s)))
            if job["state"] in SETTLED or left_s <= 0:
                return job

    def jobs(self, *, state: str | None = None, limit: int | None = None, cursor: str | None = None) -> JobPage:
        """One page of the key's jobs, newest first."""
        wanted = {"state": state, "limit": limit, "cursor": cursor}
        answer = self._request("GET", "/v1/jobs", params={name: v for name, v in wanted.items() if v is not None})
        return cast("JobPage", answer.json())

    def cancel(self, job_id: str) -> JobJson:
        """Cancel a job that has not been spoken yet."""
        return cast("JobJson", self._request("DELETE", f"/v1/jobs/{quote(job_id, safe='')}").json())

    def voices(self) -> list[dict[str, Any]]:
        """All voices."""
        return cast("list[dict[str, Any]]", self._request("GET", "/v1/voices").json()["voices"])

    def add_voice(self, recording: Path, fields: Mapping[str, str]) -> dict[str, Any]:
        """A voice of one's own, made of a recording, when it has been checked (or is still ``checking``).

        ``fields`` are ``name``, ``consent``, ``language`` and, if known, ``transcript``.
        """
        files = {"audio": (recording.name, recording.read_bytes())}
        answer = self._request("POST", "/v1/voices", data=dict(fields), files=files)
        return cast("dict[str, Any]", answer.json())

    def delete_voice(self, name: str) -> dict[str, Any]:
        """The uploaded voice of this name or id, deleted."""
        return cast("dict[str, Any]", self._request("DELETE", f"/v1/voices/{quote(name, safe='')}").json())

    def voice_preview(self, name: str) -> bytes:
        """The audio that is kept of an uploaded voice, as a WAV file."""
        return self._request("GET", f"/v1/voices/{quote(name, safe='')}/preview", params={"inline": "1"}).content

    def devices(self) -> list[dict[str, Any]]:
        """All devices."""
        return cast("list[dict[str, Any]]", self._request("GET", "/v1/devices").json()["devices"])

    def load(self, device_id: str, *, for_s: float | None = None) -> None:
        """Ask a device to load its model and to keep it, for a while or until it is left to the policy."""
        self._wish(device_id, "load", for_s=for_s)

    def unload(self, device_id: str, *, for_s: float | None = None) -> None:
        """Ask a device to unload its model, and again whenever nothing waits for it."""
        self._wish(device_id, "unload", for_s=for_s)

    def set_clocks(self, device_id: str, clocks: str, *, for_s: float | None = None) -> None:
        """Ask for the clocks of a device to be ``low`` or ``normal``, or left to the policy (``auto``)."""
        self._wish(device_id, "clocks", clocks=clocks, for_s=for_s)

    def leave_to_policy(self, device_id: str) -> None:
        """Take back what was asked of a device."""
        self._wish(device_id, "auto")

    def _wish(self, device_id: str, what: str, **wanted: Any) -> None:
        body = {name: value for name, value in wanted.items() if value is not None}
        self._request("POST", f"/v1/devices/{quote(device_id, safe='/:')}/{what}", json=body or None)

    def cost(self, **wanted: Any) -> dict[str, Any]:
        """The bill: ``since``, ``until``, ``price_kwh``, ``price_gpu_hour`` and ``slots``, as the API has them."""
        params = {name: value for name, value in wanted.items() if value is not None}
        return cast("dict[str, Any]", self._request("GET", "/v1/cost", params=params).json())

    def audio(self, job_id: str) -> bytes:
        """The audio file of a job that succeeded."""
        path = f"/v1/jobs/{quote(job_id, safe='')}/audio"
        answer = self._request("GET", path)
        if not answer.is_redirect:
            return answer.content
        with contextlib.suppress(httpx.TransportError):
            # A presigned URL carries its own proof; S3 refuses a request that brings a second one.
            stored = httpx.get(
                answer.headers["Location"],
                timeout=ANSWER_TIMEOUT_S,
                trust_env=not _is_loopback(answer.headers["Location"]),
            )
            if stored.is_success:
                return stored.content
        # The storage cannot be reached from here (another machine's loopback): through the API, then.
        return self._request("GET", path, params={"inline": "1"}).content

    def save_audio(self, job_id: str, path: Path) -> int:
        """Write the audio of a job to ``path``, whole or not at all; its number of bytes."""
        body = self.audio(job_id)
        with _unfinished(path) as unfinished:
            unfinished.write_bytes(body)
        return len(body)

    def submit_bulk(
        self, file: Path, fields: Mapping[str, Any], *, sent: Callable[[int], object] = lambda _: None
    ) -> dict[str, Any]:
        """Submit a file of texts; ``sent`` is told how many bytes of it are on the way. A dry run is answered, too.

        Raises:
            Problem: the file is refused; its ``errors`` are the first 100 of what is wrong with it.
        """
        form = {name: _as_text(value) for name, value in fields.items()}
        with file.open("rb") as opened:
            upload = {"file": (file.name, cast("IO[bytes]", _Watched(opened, sent)))}
            answer = self._request("POST", "/v1/bulks", data=form, files=upload, extra_s=CHECK_S)
        return cast("dict[str, Any]", answer.json())

    def bulk(self, bulk_id: str, *, wait_s: float = 0) -> dict[str, Any]:
        """The bulk; with ``wait_s`` as soon as it has ended, or after that time."""
        wait = {"wait": f"{wait_s:g}"} if wait_s else {}
        return cast("dict[str, Any]", self._request("GET", _bulk(bulk_id), params=wait, extra_s=wait_s).json())

    def bulks(self, *, state: str | None = None, limit: int | None = None, cursor: str | None = None) -> dict[str, Any]:
        """One page of the key's bulks, newest first: ``bulks`` and ``next_cursor``."""
        wanted = {"state": state, "limit": limit, "cursor": cursor}
        answer = self._request("GET", "/v1/bulks", params={name: v for name, v in wanted.items() if v is not None})
        return cast("dict[str, Any]", answer.json())

    def move_bulk(self, bulk_id: str, wish: str) -> dict[str, Any]:
        """The bulk after it was asked to ``pause``, ``resume``, ``cancel`` or ``retry``."""
        return cast("dict[str, Any]", self._request("POST", f"{_bulk(bulk_id)}/{wish}").json())

    def bulk_file(self, bulk_id: str, name: str) -> Iterator[bytes]:
        """A file of a bulk, piece by piece: ``manifest.jsonl``, ``manifest.csv`` or ``errors.csv``."""
        with self._transport_errors(), self._http.stream("GET", f"{_bulk(bulk_id)}/{name}") as answer:
            if answer.is_error:
                answer.read()
                raise _problem(answer)
            yield from answer.iter_bytes()

    def save_bulk_file(self, bulk_id: str, name: str, path: Path) -> None:
        """Write a file of a bulk to ``path``, whole or not at all."""
        with _unfinished(path) as unfinished, unfinished.open("wb") as file:
            for piece in self.bulk_file(bulk_id, name):
                file.write(piece)

    def webhooks(self) -> list[dict[str, Any]]:
        """All webhook endpoints, implicit ones too."""
        return cast("list[dict[str, Any]]", self._request("GET", "/v1/webhooks").json()["webhooks"])

    def add_webhook(self, url: str, **fields: Any) -> dict[str, Any]:
        """A new webhook endpoint, with its secret this once."""
        return cast("dict[str, Any]", self._request("POST", "/v1/webhooks", json={"url": url, **fields}).json())

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook endpoint."""
        self._request("DELETE", _webhook(webhook_id))

    def ping_webhook(self, webhook_id: str) -> str:
        """Send a test event; the id of its delivery."""
        return cast("str", self._request("POST", f"{_webhook(webhook_id)}/ping").json()["delivery_id"])

    def deliveries(
        self, webhook_id: str, *, state: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> dict[str, Any]:
        """One page of an endpoint's deliveries, newest first: ``deliveries`` and ``next_cursor``."""
        wanted = {"state": state, "limit": limit, "cursor": cursor}
        given = {name: value for name, value in wanted.items() if value is not None}
        return cast("dict[str, Any]", self._request("GET", f"{_webhook(webhook_id)}/deliveries", params=given).json())

    def replay(self, webhook_id: str, delivery_id: str) -> dict[str, Any]:
        """The delivery, which is sent once more."""
        path = f"{_webhook(webhook_id)}/deliveries/{quote(delivery_id, safe='')}/replay"
        return cast("dict[str, Any]", self._request("POST", path).json())

    def replay_since(self, webhook_id: str, since: str, *, state: str | None = None) -> int:
        """How many deliveries made since a time (RFC 3339) are sent once more."""
        body = {"since": since, **({"state": state} if state else {})}
        return cast("int", self._request("POST", f"{_webhook(webhook_id)}/replay", json=body).json()["replayed"])

    def webhook_secret(self) -> str:
        """What signs webhooks to the ``webhook_url`` of jobs and bulks."""
        return cast("str", self._request("GET", "/v1/webhooks/secret").json()["secret"])

    def _request(self, method: str, path: str, *, extra_s: float = 0, **rest: Any) -> httpx.Response:
        deadline = time.monotonic() + self._patience_s
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S + extra_s, connect=CONNECT_TIMEOUT_S)
        # The same at every try.
        headers = {"Idempotency-Key": secrets.token_hex(16)} if method == "POST" else {}
        repeatable = _NEVER_ARRIVED if method == "DELETE" else _LOST
        while True:
            with self._transport_errors():
                try:
                    answer = self._http.request(method, path, timeout=timeout, headers=headers, **rest)
                except repeatable:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(PAUSE_S)
                    continue
            pause_s = _retry_after_s(answer)
            if not _passes(answer) or time.monotonic() + pause_s > deadline:
                break
            time.sleep(pause_s)
        if answer.is_error:
            raise _problem(answer)
        return answer

    @contextlib.contextmanager
    def _transport_errors(self) -> Iterator[None]:
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as exc:
            raise ApiUnavailable(f"{self.url} does not answer: {str(exc) or type(exc).__name__}") from exc


def _retry_after_s(answer: httpx.Response) -> float:
    with contextlib.suppress(ValueError):
        return max(0.1, float(answer.headers.get("Retry-After", "")))
    return PAUSE_S


def _passes(answer: httpx.Response) -> bool:
    """Whether the refusal ends by itself: a limit, a neighbour that is away, or an earlier try that is still at it."""
    return answer.status_code in (429, 503) or (
        answer.status_code == 409 and _problem(answer).code == IdempotencyInFlight.code
    )


def _problem(answer: httpx.Response) -> Problem:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    return Problem(
        code=str(body.get("code", "http_error")),
        status=answer.status_code,
        detail=str(body.get("detail") or f"{answer.request.url} answered {answer.status_code}"),
        retryable=bool(body.get("retryable", answer.status_code in (429, 503))),
        errors=body.get("errors") or (),
    )


class _Watched:
    """A file that tells how far it has been read."""

    def __init__(self, file: IO[bytes], told: Callable[[int], object]) -> None:
        self._file = file
        self._told = told
        self.tell = file.tell
        self.seek = file.seek

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._told(self._file.tell())
        return piece


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """A path to write to; what was written there is at ``path`` afterwards, unless that failed."""
    unfinished = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _bulk(bulk_id: str) -> str:
    return f"/v1/bulks/{quote(bulk_id, safe='')}"


def _webhook(webhook_id: str) -> str:
    return f"/v1/webhooks/{quote(webhook_id, safe='')}"


def _as_text(value: Any) -> str:
    """A value as a form has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _is_loopback(url: str) -> bool:
    with contextlib.suppress(httpx.InvalidURL):
        return httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")
    return False
