"""The claimed jobs of a device, and their segments as rows of a batch."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

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
    """The forward pass that spoke a row."""

    id: str
    #: Number of rows in the pass.
    size: int
    #: Share of the pass's cost that was padding, 0..1.
    padding: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchRow:
    """One segment of a claimed job, ready for a forward pass."""

    claimed: ClaimedJob
    #: Position of the segment in its job.
    at: int
    utterance: Utterance
    #: When its job was claimed, in the seconds of ``time.monotonic``.
    claimed_at: float
    #: 0 for rows that count as ``interactive``.
    rank: int
    #: Gets a forward pass of its own: its job may have ended a process, or its audio was bad in a shared pass.
    alone: bool = False
    #: 1 for the first take. A segment whose audio is not speech gets one more.
    take: int = 1


class ClaimedJob:
    """A claimed job with its segments and the answers so far. Safe for threads."""

    def __init__(self, claim: Claim, texts: list[str], sample_rate_hz: int) -> None:
        self.claim = claim
        self.texts = texts
        self.sample_rate_hz = sample_rate_hz
        self.answers: list[Speech | SynthesisError | None] = [None] * len(texts)
        self.batch: BatchRef | None = None
        #: Device time of its rows: their share, by cost, of the passes that spoke them.
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

    @property
    def claims(self) -> list[Claim]:
        """Its own claim and those of its followers."""
        with self._lock:
            return [self.claim, *self._followers]

    @property
    def is_complete(self) -> bool:
        """Whether every segment has its answer."""
        return self._missing == 0

    def record_answer(self, at: int, answer: Speech | SynthesisError, batch: BatchRef | None) -> None:
        """Keep the answer to segment ``at``, and the pass that gave it."""
        with self._lock:
            self.answers[at] = answer
            self.batch = batch or self.batch
            self._missing -= 1

    def renew(self, claim: Claim) -> bool:
        """Replace the void claim of this job or of a follower by a later one; False if it is a claim of another job."""
        with self._lock:
            if claim.job.id == self.claim.job.id:
                self.claim = claim
                return True
            for at, follower in enumerate(self._followers):
                if follower.job.id == claim.job.id:
                    self._followers[at] = claim
                    return True
            return False

    def add_follower(self, claim: Claim) -> bool:
        """Let an equal job get this one's outcome; False if it is too late for that."""
        with self._lock:
            if self._open:
                self._followers.append(claim)
            return self._open

    def close(self) -> list[Claim]:
        """Accept no more followers, and return those that it has."""
        with self._lock:
            self._open = False
            return list(self._followers)

    @property
    def error(self) -> SynthesisError | None:
        """The error with which the job fails, if any: its first one. A segment with nothing to say fails a job only if
        all other segments fail too.
        """
        errors = [answer for answer in self.answers if isinstance(answer, SynthesisError)]
        grave = [error for error in errors if not isinstance(error, TextUnspeakable)]
        if grave:
            return grave[0]
        return errors[0] if len(errors) == len(self.answers) else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedJob:
    """A claimed job and its rows; without rows it needs no forward pass, because every segment has its answer."""

    claimed: ClaimedJob
    rows: Sequence[BatchRow]


def next_take(row: BatchRow, engine: Engine) -> BatchRow:
    """The same segment with another seed, for a pass of its own.

    Raises:
        SynthesisError: the engine refuses the segment this time.
    """
    segment = row.utterance.segment
    other = segment.with_seed(segment.speech.seed + OTHER_SEED)
    return dataclasses.replace(row, utterance=engine.prepare(other), alone=True, take=row.take + 1)


def prepare_job(claim: Claim, engine: Engine, *, claimed_at: float, rank: int) -> PreparedJob:
    """A claimed job, cut into segments and prepared. A segment that cannot be spoken has its answer already.

    Raises:
        ModelUnavailable, CloningUnsupported: the model here does not have the voice, or cannot speak with it.
    """
    job = claim.job
    voice = _find_voice(job, engine)
    claimed = ClaimedJob(claim, split(job.text, engine.info.segment_chars), engine.info.sample_rate_hz)
    rows: list[BatchRow] = []
    for at, text in enumerate(claimed.texts):
        segment = Segment(text=text, voice=voice, speech=job.speech).with_seed(job.speech.seed + at)
        try:
            utterance = engine.prepare(segment)
        except SynthesisError as exc:
            claimed.record_answer(at, exc, None)
        except Exception as exc:  # noqa: BLE001 - the door to engines: every other failure there is EngineFailed
            _log.exception("prepare_failed", job_id=job.id)
            claimed.record_answer(at, EngineFailed(f"The engine cannot prepare this text: {exc!r}"), None)
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
    return PreparedJob(claimed=claimed, rows=rows)


def _find_voice(job: Job, engine: Engine) -> Voice:
    if job.recording is not None:
        return _recorded_voice(job, engine.info)
    for voice in engine.voices:
        if voice.name == job.speech.voice:
            return voice
    raise ModelUnavailable(f"Model {job.model!r} no longer has a voice {job.speech.voice!r}.")


def _recorded_voice(job: Job, info: EngineInfo) -> Voice:
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
