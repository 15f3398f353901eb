"""Reading any audio file that libsndfile knows into mono samples, in bounded memory, believing no header."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from stentor.errors import RecordingTooLong, RecordingUnreadable
from stentor.voices.recording import MAX_SPEECH_S, SAMPLE_RATE_HZ

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 192_000
MAX_CHANNELS = 8
#: Seconds of a file that are decoded at most, silence included. 50 MB of silence can be days.
MAX_FILE_S = 600
#: Frames that are decoded at a time: 2 MiB of eight channels.
BLOCK_FRAMES = 65_536
#: No converter overshoots so far beyond full scale; a float of more is no sample.
MAX_LEVEL = 64.0
#: A sample lies at the peak when it comes within 0.1% of it.
EDGE = 0.999


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A file, decoded."""

    #: float32, shape (samples,), at ``SAMPLE_RATE_HZ``, mono: the mean of the channels, without their constant part.
    samples: NDArray[np.float32]
    format: str
    rate_hz: int
    channels: int
    duration_s: float
    #: The loudest sample of any channel, 1.0 is full scale.
    peak: float
    #: Share of samples of all channels that lie at the peak, 0..1.
    clipped_share: float

    def as_fields(self) -> dict[str, Any]:
        """What the record of a voice says about the file."""
        return {
            "format": self.format,
            "sample_rate_hz": self.rate_hz,
            "channels": self.channels,
            "duration_s": round(self.duration_s, 3),
        }


class _Edge:
    """Counts the samples at the peak of a recording that is seen block by block."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._at_peak = 0
        self._seen = 0

    def look(self, block: NDArray[np.float32]) -> None:
        sizes = np.abs(block)
        peak = float(sizes.max())
        if peak * EDGE > self.peak:
            self._at_peak = 0  # the peak so far is none any more
        self.peak = max(self.peak, peak)
        self._at_peak += int(np.count_nonzero(sizes >= EDGE * self.peak)) if self.peak else 0
        self._seen += block.size

    @property
    def share(self) -> float:
        return self._at_peak / max(1, self._seen)


def read(path: Path) -> Source:
    """The file, whatever it is called.

    Raises:
        RecordingUnreadable: libsndfile does not know it, or what it decodes cannot be a recording.
        RecordingTooLong: there are more than ``MAX_FILE_S`` seconds.
    """
    try:
        with soundfile.SoundFile(path) as file:
            _check(file)
            return _decode(file)
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, OSError, MemoryError) as exc:
        # Without the place that libsndfile names: the path is internal.
        said = str(getattr(exc, "error_string", exc)).strip().rstrip(".")[:200]
        raise RecordingUnreadable(f"the recording cannot be decoded: {said or type(exc).__name__}") from exc


def _check(file: soundfile.SoundFile) -> None:
    if not MIN_RATE_HZ <= file.samplerate <= MAX_RATE_HZ:
        raise RecordingUnreadable(
            f"The recording has a sample rate of {file.samplerate} Hz. {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz are allowed."
        )
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise RecordingUnreadable(f"The recording has {file.channels} channels. 1 to {MAX_CHANNELS} are allowed.")


def _decode(file: soundfile.SoundFile) -> Source:
    resampler = soxr.ResampleStream(file.samplerate, SAMPLE_RATE_HZ, 1, dtype="float32", quality="VHQ")
    edge = _Edge()
    pieces: list[NDArray[np.float32]] = []
    frames = 0
    while True:
        # (frames, channels); fewer frames than asked for are the end
        block: NDArray[np.float32] = file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        _check_samples(block, frames)
        frames += len(block)
        if frames > MAX_FILE_S * file.samplerate:
            raise RecordingTooLong(
                f"The recording lasts more than {MAX_FILE_S} s. At most {MAX_SPEECH_S:g} s of speech are needed."
            )
        if len(block):
            edge.look(block)
        last = len(block) < BLOCK_FRAMES
        pieces.append(resampler.resample_chunk(block.mean(axis=1), last=last))  # (frames, channels) -> (frames,)
        if last:
            break
    if not frames:
        raise RecordingUnreadable(f"the recording is {file.format} and has 0 samples")
    samples = np.concatenate(pieces)
    return Source(
        samples=samples - np.float32(samples.mean(dtype=np.float64)) if len(samples) else samples,
        format=f"{file.format}/{file.subtype}",
        rate_hz=file.samplerate,
        channels=file.channels,
        duration_s=frames / file.samplerate,
        peak=edge.peak,
        clipped_share=edge.share,
    )


def _check_samples(block: NDArray[np.float32], before: int) -> None:
    bad = ~(np.abs(block) <= MAX_LEVEL)  # so that it holds for NaN
    if bad.any():
        frame, channel = (int(at) for at in np.argwhere(bad)[0])
        raise RecordingUnreadable(
            f"sample {before + frame} of the recording is {block[frame, channel]:g} of full scale; "
            f"numbers up to {MAX_LEVEL:g} are allowed"
        )
