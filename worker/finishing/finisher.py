"""From answers to an outcome: join, check, encode, store, settle. Runs beside the next forward pass."""

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


class Abandoned(Exception):
    """The device stops before this job has its outcome; it stays pending for the next process."""


#: Jobs that are encoded, stored and settled at the same time. They mostly wait for S3 and Redis.
STORE_THREADS = 4
#: Audio that may wait to be stored. When S3 is away the device stops at this, and memory stays bounded.
UNSTORED_BYTES = 256 * 2**20
#: First and longest pause between two tries to reach S3 or Redis, in seconds.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0


class Finisher:
    """Turns spoken claimed_jobs into settled jobs, several at a time, and bounds the audio that waits for it."""

    def __init__(
        self,
        claims: Claims,
        storage: Storage,
        *,
        storage_retry_s: float,
        loudness_lufs: float | None,
        discard: Callable[[str, str], None],
    ) -> None:
        """``discard`` is called with id and key of a job whose audio was stored but whose claim was void."""
        self._claims = claims
        self._storage = storage
        self._storage_retry_s = storage_retry_s
        self._loudness_lufs = loudness_lufs
        self._discard = discard
        self._pool = ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="finish")
        self._changed = threading.Condition()
        self._unstored_bytes = 0
        self._held: set[ClaimedJob] = set()
        self._abandoned = threading.Event()

    @property
    def held(self) -> list[ClaimedJob]:
        """Parcels that were handed in and have no outcome yet."""
        with self._changed:
            return list(self._held)

    @property
    def claims(self) -> list[Claim]:
        """Their claims, and those of jobs that follow them."""
        return [claim for claimed in self.held for claim in claimed.claims]

    def hand_in(self, claimed: ClaimedJob) -> Future[None]:
        """Finish a claimed in the background; returns at once."""
        size = sum(answer.samples.nbytes for answer in claimed.answers if isinstance(answer, Speech))
        with self._changed:
            self._held.add(claimed)
            self._unstored_bytes += size
        return self._pool.submit(self._finish_and_release, claimed, size)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Whether there is room for more audio, waiting for it up to ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: self._unstored_bytes < UNSTORED_BYTES, timeout_s)

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Whether all claimed_jobs have their outcome, waiting for it up to ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, timeout_s)

    def abandon(self) -> None:
        """Try nothing again from now on: what has no outcome stays pending for the device's next process."""
        self._abandoned.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _finish_and_release(self, claimed: ClaimedJob, size: int) -> None:
        try:
            self._finish(claimed)
        except Abandoned:
            _log.warning("job_left_pending", job_id=claimed.job.id)
        except Exception:  # noqa: BLE001 - the last door of a pool thread; what is unsettled stays pending
            _log.exception("finish_failed", job_id=claimed.job.id)
        finally:
            with self._changed:
                self._held.discard(claimed)
                self._unstored_bytes -= size
                self._changed.notify_all()

    def _finish(self, claimed: ClaimedJob) -> None:
        job = claimed.job
        started = time.monotonic()
        try:
            outcome, key = self._stored(claimed)
        except (SynthesisError, StorageUnavailable) as exc:
            outcome, key = Outcome.failed(exc), None
        settled = self._settle(claimed.claim, outcome, started)
        followers = claimed.close()
        if key:
            shared = {name: value for name, value in outcome.fields.items() if name != "device_s"}
            outcome = dataclasses.replace(outcome, fields={**shared, "cached": True})
        followed = [self._settle(follower, outcome, started) for follower in followers]
        if key and not settled and not any(followed):
            self._discard(job.id, key)

    def _settle(self, claim: Claim, outcome: Outcome, started: float) -> bool:
        settled = self._again_while_away(RedisUnavailable, lambda: self._claims.settle(claim, outcome), deadline=None)
        _log.info(
            "job_settled" if settled else "delivery_void",
            job_id=claim.job.id,
            state=outcome.state,
            code=outcome.fields.get("error_code"),
            audio_s=outcome.fields.get("audio_s"),
            batch_id=outcome.fields.get("batch_id"),
            cached=outcome.fields.get("cached", False),
            attempts=claim.job.attempts,
            took_s=round(time.monotonic() - started, 4),
        )
        return settled

    def _stored(self, claimed: ClaimedJob) -> tuple[Outcome, str]:
        """The outcome of a claimed whose audio now lies in S3, and where.

        Raises:
            SynthesisError: a segment failed, or the audio cannot be encoded.
            StorageUnavailable: S3 stayed away for ``storage_retry_s``.
        """
        job = claimed.job
        if claimed.error:
            raise claimed.error
        samples, rate_hz = _joined(claimed)
        if self._loudness_lufs is not None:
            samples = quality.to_loudness(samples, rate_hz, self._loudness_lufs)
        form = FORMATS[job.speech.format]
        body = audio.encode(
            samples, sample_rate_hz=rate_hz, format=job.speech.format, target_sample_rate_hz=job.speech.sample_rate_hz
        )
        key = audio_key(job.id, job.created_at, form.extension)
        self._again_while_away(
            StorageUnavailable,
            lambda: self._storage.put(key, body, content_type=form.content_type),
            deadline=time.monotonic() + self._storage_retry_s,
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

    def _again_while_away(self, away: type[Exception], act: Callable[[], T], *, deadline: float | None) -> T:
        """What ``act`` answers, tried again with growing pauses for as long as it raises ``away``.

        Raises:
            Abandoned: the device stops meanwhile. Not ``away``: that a device stops is not the job's failure.
        """
        wait_s = FIRST_PAUSE_S
        while True:
            try:
                return act()
            except away as exc:
                if deadline is not None and time.monotonic() >= deadline:
                    raise
                if self._abandoned.wait(wait_s):
                    raise Abandoned from exc
                _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=wait_s)
                wait_s = min(2 * wait_s, LONGEST_PAUSE_S)


def _joined(claimed: ClaimedJob) -> tuple[NDArray[np.float32], int]:
    """The job's whole audio (float32, shape (samples,), -1..1, mono) and its rate in Hz."""
    texts, rate_hz = claimed.texts, claimed.sample_rate_hz
    spoken = [(at, answer.samples) for at, answer in enumerate(claimed.answers) if isinstance(answer, Speech)]
    pauses_s = [pause_s(texts[at], texts[at + 1]) for at, _ in spoken[:-1]] + [0.0]
    return audio.join([samples for _, samples in spoken], pauses_s, rate_hz), rate_hz
