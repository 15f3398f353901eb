"""From answers to an outcome: join, encode, upload, settle. Runs during the next forward pass."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_never,
    wait_exponential,
)

from stentor import log
from stentor.errors import RedisUnavailable, StorageUnavailable, SynthesisError
from stentor.formats import FORMATS
from stentor.jobs.job import JobState, Outcome
from stentor.storage.s3 import Storage, audio_key
from worker.batching.rows import ClaimedJob
from worker.batching.segments import pause_s
from worker.claiming.claims import Claim, Claims
from worker.engines.contract import Speech
from worker.finishing import audio, quality

_log = log.get(__name__)

T = TypeVar("T")

#: Jobs that are encoded, uploaded and settled at the same time. They mostly wait for S3 and Redis.
UPLOAD_THREADS = 4
#: Maximum size of audio that waits for its upload. While S3 is away the device stops here, so memory stays bounded.
UNSTORED_BYTES = 256 * 2**20
#: First and longest pause between two attempts to reach S3 or Redis, in seconds.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0


class Abandoned(Exception):
    """The device stops before this job has its outcome; the job stays pending for the next process."""


class Finisher:
    """Turns spoken jobs into settled jobs, several at a time, and bounds the audio that waits for this."""

    def __init__(
        self,
        claims: Claims,
        storage: Storage,
        *,
        storage_retry_s: float,
        loudness_lufs: float | None,
        discard: Callable[[str, str], None],
    ) -> None:
        """``discard`` is called with id and key of a job whose audio was uploaded but whose claim was void."""
        self._claims = claims
        self._storage = storage
        self._storage_retry_s = storage_retry_s
        self._loudness_lufs = loudness_lufs
        self._discard = discard
        self._pool = ThreadPoolExecutor(UPLOAD_THREADS, thread_name_prefix="finish")
        self._changed = threading.Condition()
        self._unstored_bytes = 0
        self._jobs: set[ClaimedJob] = set()
        self._abandoned = threading.Event()

    @property
    def jobs(self) -> list[ClaimedJob]:
        """Jobs that are being finished and have no outcome yet."""
        with self._changed:
            return list(self._jobs)

    def start(self, claimed: ClaimedJob) -> Future[None]:
        """Finish a job in the background; returns at once."""
        size = sum(answer.samples.nbytes for answer in claimed.answers if isinstance(answer, Speech))
        with self._changed:
            self._jobs.add(claimed)
            self._unstored_bytes += size
        return self._pool.submit(self._finish_and_release, claimed, size)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until there is room for more audio; False if there is none after ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: self._unstored_bytes < UNSTORED_BYTES, timeout_s)

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until all jobs have their outcome; False if some have none after ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs, timeout_s)

    def abandon(self) -> None:
        """Retry nothing from now on: jobs without an outcome stay pending for the device's next process."""
        self._abandoned.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _finish_and_release(self, claimed: ClaimedJob, size: int) -> None:
        try:
            self._finish(claimed)
        except Abandoned:
            _log.warning("job_left_pending", job_id=claimed.job.id)
        except Exception:  # noqa: BLE001 - the last door of a pool thread; an unsettled job stays pending
            _log.exception("finish_failed", job_id=claimed.job.id)
        finally:
            with self._changed:
                self._jobs.discard(claimed)
                self._unstored_bytes -= size
                self._changed.notify_all()

    def _finish(self, claimed: ClaimedJob) -> None:
        began_at = time.monotonic()
        try:
            outcome, key = self._upload_audio(claimed)
        except (SynthesisError, StorageUnavailable) as exc:
            outcome, key = Outcome.failed(exc), None
        settled = self._settle(claimed.claim, outcome, began_at)
        followers = claimed.close()
        if key:
            shared = {name: value for name, value in outcome.fields.items() if name != "device_s"}
            outcome = dataclasses.replace(outcome, fields={**shared, "cached": True})
        followed = [self._settle(follower, outcome, began_at) for follower in followers]
        if key and not settled and not any(followed):
            self._discard(claimed.job.id, key)

    def _settle(self, claim: Claim, outcome: Outcome, began_at: float) -> bool:
        return self._retry(RedisUnavailable, lambda: self._claims.settle(claim, outcome, began_at=began_at))

    def _upload_audio(self, claimed: ClaimedJob) -> tuple[Outcome, str]:
        """The outcome of a job whose audio is now in S3, and the audio's key.

        Raises:
            SynthesisError: a segment failed, or the audio cannot be encoded.
            StorageUnavailable: S3 did not answer for ``storage_retry_s``.
        """
        job = claimed.job
        if claimed.error:
            raise claimed.error
        samples, rate_hz = _join(claimed)
        if self._loudness_lufs is not None:
            samples = quality.to_loudness(samples, rate_hz, self._loudness_lufs)
        form = FORMATS[job.speech.format]
        body = audio.encode(
            samples, sample_rate_hz=rate_hz, format=job.speech.format, target_sample_rate_hz=job.speech.sample_rate_hz
        )
        key = audio_key(job.id, job.created_at, form.extension)
        self._retry(
            StorageUnavailable,
            lambda: self._storage.put(key, body, content_type=form.content_type),
            limit_s=self._storage_retry_s,
        )
        batch = claimed.batch
        fields = {
            "audio_key": key,
            "audio_s": round(len(samples) / rate_hz, 4),
            "audio_bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "device_s": round(claimed.device_s, 6),
            "quality": quality.measure(samples, rate_hz, len(job.text)).as_fields(),
        }
        if batch:
            fields |= {"batch_id": batch.id, "batch_size": batch.size, "batch_padding": round(batch.padding, 4)}
        return Outcome(state=JobState.SUCCEEDED, fields=fields), key

    def _retry(self, away: type[Exception], act: Callable[[], T], *, limit_s: float | None = None) -> T:
        """The result of ``act``, which is retried with growing pauses while it raises ``away``, for up to ``limit_s``.

        Raises:
            Abandoned: the device stops meanwhile. Not ``away``: a device that stops is not the job's failure.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(away),
            wait=wait_exponential(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S),
            stop=stop_never if limit_s is None else stop_after_delay(limit_s),
            before_sleep=_log_pause,
            sleep=self._pause,
            reraise=True,
        )
        return retrying(act)

    def _pause(self, wait_s: float) -> None:
        if self._abandoned.wait(wait_s):
            raise Abandoned


def _log_pause(state: RetryCallState) -> None:
    reason = str(state.outcome.exception()) if state.outcome else ""
    _log.warning("waiting_for_neighbour", reason=reason, pause_s=state.upcoming_sleep)


def _join(claimed: ClaimedJob) -> tuple[NDArray[np.float32], int]:
    """The job's whole audio (float32, shape (samples,), -1..1, mono) and its rate in Hz."""
    texts, rate_hz = claimed.texts, claimed.sample_rate_hz
    spoken = [(at, answer.samples) for at, answer in enumerate(claimed.answers) if isinstance(answer, Speech)]
    pauses_s = [pause_s(texts[at], texts[at + 1]) for at, _ in spoken[:-1]] + [0.0]
    return audio.join([samples for _, samples in spoken], pauses_s, rate_hz), rate_hz
