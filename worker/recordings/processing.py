"""From a file to the audio of a voice: read, trimmed, checked, made as loud as all others."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stentor.errors import RecordingTooLong, RecordingTooShort, RecordingUnusable
from stentor.voices.recording import LOUDNESS_LUFS, MAX_SPEECH_S, MIN_SPEECH_S, SAMPLE_RATE_HZ
from worker.finishing import audio, quality
from worker.recordings import speech
from worker.recordings.reading import Source, read


def process(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The audio of a voice as a WAV file, and the figures of the recording that it was made of.

    Raises:
        RecordingError: the file cannot be a voice.
    """
    source = read(path)
    spoken = speech.trim(source.samples)
    _check(source, spoken)
    levels = speech.levels_dbfs(source.samples)
    loudness = quality.loudness_lufs(spoken, SAMPLE_RATE_HZ)
    body = audio.encode(
        quality.to_loudness(spoken, SAMPLE_RATE_HZ, LOUDNESS_LUFS), sample_rate_hz=SAMPLE_RATE_HZ, format="wav"
    )
    return body, {
        "duration_s": round(len(spoken) / SAMPLE_RATE_HZ, 3),
        "snr_db": round(speech.snr_db(levels), 1),
        "clipped_share": round(source.clipped_share, 5),
        "peak_dbfs": round(20 * math.log10(source.peak), 2),
        "loudness_lufs": None if loudness is None else round(loudness, 2),
        "original": source.as_fields(),
    }


def _check(source: Source, spoken: NDArray[np.float32]) -> None:
    """Pass when the speech may be that of a voice.

    Raises:
        RecordingTooShort, RecordingTooLong: the length of the speech, and the allowed lengths.
        RecordingUnusable: it is clipped flat.
    """
    speech_s = len(spoken) / SAMPLE_RATE_HZ
    seen = f"the recording has {speech_s:.2f} s of speech in its {source.duration_s:.2f} s"
    wanted = f"{MIN_SPEECH_S:g} to {MAX_SPEECH_S:g} s are needed"
    if speech_s < MIN_SPEECH_S:
        raise RecordingTooShort(f"{seen}; {wanted}")
    if speech_s > MAX_SPEECH_S:
        raise RecordingTooLong(f"{seen}; {wanted}")
    if source.clipped_share > quality.MAX_EDGE_SHARE:
        raise RecordingUnusable(
            f"the recording is clipped flat: {source.clipped_share:.0%} of its samples lie within 0.1% of its peak, "
            f"and at most {quality.MAX_EDGE_SHARE:.0%} is allowed"
        )
