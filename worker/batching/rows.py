"""Rows: the segments of claimed jobs on their way through a device, and the jobs they add up to."""

from __future__ import annotations

import dataclasses
import threading

from stentor import log
from stentor.errors import CloningUnsupported, EngineFailed, ModelUnavailable, SynthesisError, TextUnspeakable
from stentor.jobs.job import Job
from stentor.voices.voice import Voice
from worker.batching.segments import split
from worker.claiming.claims import Claim
from worker.engines.contract import Engine, EngineInfo, Segment, Speech, Utterance

_log = log.get(__name__)

#: Added to a seed for another take: the golden ratio of the range, far from the seeds of a text's other segments.
OTHER_SEED = 0x9E3779B9


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchRef:
    """The forward pass that a row was spoken in."""

    id: str
    #: Rows in the pass.
    size: int
    #: Share of the pass's cost that was padding, 0..1.
    padding: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchRow:
    """One segment of a job in hand, ready for a forward pass."""

    claimed: ClaimedJob
    at: int
    utterance: Utterance
    #: When its job was claimed, in the seconds of ``time.monotonic``.
    claimed_at: float
    #: 0 for what counts as ``interactive``.
    rank: int
    #: Goes into a forward pass of its own: it may have ended a process, or was spoken badly in company.
    alone: bool = False
    #: 1 for the first take; a segment whose audio is no speech is taken once more.
    take: int = 1


class ClaimedJob:
    """A claimed job, its segments, and the answers that have come in. Safe for threads."""

    def __init__(self, claim: Claim, texts: list[str], sample_rate_hz: int) -> None:
        self.claim = claim
        self.texts = texts
        self.sample_rate_hz = sample_rate_hz
        self.answers: list[Speech | SynthesisError | None] = [None] * len(texts)
        self.batch: BatchRef | None = None
        #: Time of the device that its rows took: their share, by cost, of the passes that spoke them.
        self.device_s = 0.0
        #: Claims of equal jobs, which get the same outcome.
        self._followers: list[Claim] = []
        self._open = True
        self._missing = len(texts)
        self._lock = threading.Lock()

    @property
    def job(self) -> Job:
        """The job as it was claimed."""
        return self.claim.job

    def take(self, at: int, answer: Speech | SynthesisError, batch: BatchRef | None) -> bool:
        """Whether the answer to segment ``at`` was the last one that was missing."""
        with self._lock:
            self.answers[at] = answer
            self.batch = batch or self.batch
            self._missing -= 1
            return self._missing == 0

    @property
    def claims(self) -> list[Claim]:
        """Its own claim and those of its followers."""
        with self._lock:
            return [self.claim, *self._followers]

    def renew(self, claim: Claim) -> bool:
        """Whether this is a later claim of a job that is in here; it takes the place of the one that is void now."""
        with self._lock:
            if claim.job.id == self.claim.job.id:
                self.claim = claim
                return True
            for at, follower in enumerate(self._followers):
                if follower.job.id == claim.job.id:
                    self._followers[at] = claim
                    return True
            return False

    def follow(self, claim: Claim) -> bool:
        """Whether an equal job gets this one's outcome: it is not too late for that."""
        with self._lock:
            if self._open:
                self._followers.append(claim)
            return self._open

    def close(self) -> list[Claim]:
        """Its followers; from now on there are no more."""
        with self._lock:
            self._open = False
            return list(self._followers)

    @property
    def error(self) -> SynthesisError | None:
        """Why the job fails, if it does: its first error; a piece with nothing to say is none beside others."""
        errors = [answer for answer in self.answers if isinstance(answer, SynthesisError)]
        grave = [error for error in errors if not isinstance(error, TextUnspeakable)]
        if grave:
            return grave[0]
        return errors[0] if len(errors) == len(self.answers) else None


def another_take(row: BatchRow, engine: Engine) -> BatchRow:
    """The same segment with another seed, alone.

    Raises:
        SynthesisError: the engine does not take it a second time.
    """
    segment = row.utterance.segment
    other = segment.with_seed(segment.speech.seed + OTHER_SEED)
    return dataclasses.replace(row, utterance=engine.prepare(other), alone=True, take=row.take + 1)


def parcel_of(claim: Claim, engine: Engine, *, claimed_at: float, rank: int) -> tuple[ClaimedJob, list[BatchRow]]:
    """A claimed job cut into segments and prepared; a segment that cannot be spoken has its answer already."""
    job = claim.job
    voice = _voice(job, engine)
    claimed = ClaimedJob(claim, split(job.text, engine.info.segment_chars), engine.info.sample_rate_hz)
    rows: list[BatchRow] = []
    for at, text in enumerate(claimed.texts):
        segment = Segment(text=text, voice=voice, speech=job.speech).with_seed(job.speech.seed + at)
        try:
            utterance = engine.prepare(segment)
        except SynthesisError as exc:
            claimed.take(at, exc, None)
        except Exception as exc:  # noqa: BLE001 - the door to engines: whatever goes wrong there has one name here
            _log.exception("prepare_failed", job_id=job.id)
            claimed.take(at, EngineFailed(f"the engine cannot prepare this text: {exc!r}"), None)
        else:
            rows.append(
                BatchRow(
                    claimed=claimed,
                    at=at,
                    utterance=utterance,
                    claimed_at=claimed_at,
                    rank=rank,
                    alone=claim.suspect,
                )
            )
    return claimed, rows


def _voice(job: Job, engine: Engine) -> Voice:
    """What the job speaks with: a voice of the model, or a recording.

    Raises:
        ModelUnavailable, CloningUnsupported: the model here does not have it, or cannot speak with it.
    """
    if job.recording is not None:
        return _cloned(job, engine.info)
    for voice in engine.voices:
        if voice.name == job.speech.voice:
            return voice
    raise ModelUnavailable(f"model {job.model!r} no longer has a voice {job.speech.voice!r}")


def _cloned(job: Job, info: EngineInfo) -> Voice:
    if not info.cloning:
        raise CloningUnsupported(
            f"The voice {job.speech.voice!r} is a recording. The model {job.model!r} cannot clone."
        )
    return Voice(
        name=job.speech.voice,
        model=job.model,
        engine=info.name,
        languages=info.languages,
        sample_rate_hz=info.sample_rate_hz,
        recording=job.recording,
        recording_key=job.recording_key,
    )
