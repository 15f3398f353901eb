"""From raw model output to what a listener wants: no dead air at the ends, one level for all texts, word times.

Figures are from 48 sentences of the joe voice (16 texts, three times, raw output of the model).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stentor.errors import AudioInvalid
from worker.engines.contract import Speech, WordTime
from worker.engines.piper.latents import FloatArray, IntArray

#: Loudness is looked at in windows of this length: two periods of a low male voice.
WINDOW_S = 0.01
#: A window this far below the sentence's loudest one (-40 dB) is silence. Joe's pauses measure 0 to -60 dB of it.
SILENCE = 0.01
#: Silence kept before and after a sentence. Joe begins after 0.05 s (median; at most 0.65) and ends 0.22 s before the
#: end (0.15 to 0.40): what is kept sounds like that, and the rest would only be stored and sent.
LEAD_S = 0.06
TAIL_S = 0.15
#: Cut ends are faded over this time, so that no step is heard.
FADE_S = 0.005
#: Silence added between two sentences; with the lead and the tail a pause is 0.41 s.
PAUSE_S = 0.2
#: RMS that speech is brought to, over the windows that are not silent: -20 dBFS. Joe's raw level is -23 dBFS and strays
#: by 2.1 dB from text to text; piper brings every sentence's peak to 1.0, which strays by 1.7 dB and makes "Hello."
#: as loud as its sharpest consonant allows. One RMS strays by 0.
LEVEL = 0.1
#: No sample goes beyond this. Joe's peaks lie 12.8 to 20.1 dB above the RMS, so that only about one text in twenty
#: is held below -20 dBFS, by at most 0.6 dB.
CEILING = 0.95
#: Windows quieter than this part of the loudest one (-26 dB) do not count for the level.
ACTIVE = 0.05
#: A peak below this is no speech: joe's quietest is 0.3.
INAUDIBLE = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spoken:
    """One row as the model spoke it."""

    #: float32, shape (samples,), raw.
    samples: FloatArray
    #: Latent frames per phoneme id: int64, shape (ids,). None if the model does not tell.
    frames: IntArray | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound:
    """How frames and ids of the voice become times and words."""

    sample_rate_hz: int
    hop_samples: int
    #: Ids that make a sound, and the id of the space between words (None: the voice knows no words).
    spoken_ids: frozenset[int]
    space_id: int | None


def join(text: str, rows: Sequence[tuple[IntArray, Spoken]], sound: Sound) -> Speech:
    """The rows (phoneme ids and what was spoken) of one utterance, one after the other, as speech.

    Raises:
        AudioInvalid: a row is empty, not finite or silent.
    """
    pieces: list[FloatArray] = []
    times: list[tuple[float, float]] | None = []
    at = 0
    pause = np.zeros(round(PAUSE_S * sound.sample_rate_hz), dtype=np.float32)
    for ids, spoken in rows:
        if pieces:
            pieces.append(pause)
            at += len(pause)
        piece, cut = _trim(_require_sound(spoken.samples), sound.sample_rate_hz)
        if spoken.frames is None:
            times = None
        elif times is not None:
            times += _word_times(ids, spoken.frames, sound, offset=at - cut, low=at, high=at + len(piece))
        pieces.append(piece)
        at += len(piece)
    return Speech(samples=_level(np.concatenate(pieces), sound.sample_rate_hz), words=_pair_words(text, times))


def _require_sound(samples: FloatArray) -> FloatArray:
    if samples.size == 0:
        raise AudioInvalid("the model answered with 0 samples")
    peak = float(np.abs(samples).max())
    if not np.isfinite(peak):
        raise AudioInvalid(f"the model answered with values that are not finite, among {samples.size} samples")
    if peak < INAUDIBLE:
        raise AudioInvalid(f"the model answered with silence: the peak is {peak:.1e} in {samples.size} samples")
    return samples


def _loudness(samples: FloatArray, window: int) -> NDArray[np.float64]:
    """RMS per window: float64 (squares of float32 fit), shape (windows,); the last window is filled up with silence."""
    whole = np.pad(samples, (0, -len(samples) % window)).reshape(-1, window)
    rms: NDArray[np.float64] = np.sqrt(np.mean(np.square(whole, dtype=np.float64), axis=1))
    return rms


def _trim(samples: FloatArray, sample_rate_hz: int) -> tuple[FloatArray, int]:
    """The samples without dead air at their ends, and how many were cut from the start."""
    window = max(1, round(WINDOW_S * sample_rate_hz))
    loudness = _loudness(samples, window)
    heard = np.flatnonzero(loudness > SILENCE * loudness.max())
    start = max(0, int(heard[0]) * window - round(LEAD_S * sample_rate_hz))
    end = min(len(samples), (int(heard[-1]) + 1) * window + round(TAIL_S * sample_rate_hz))
    piece = samples[start:end].copy()
    fade = np.linspace(0, 1, min(round(FADE_S * sample_rate_hz), len(piece)), dtype=np.float32)
    if start > 0:
        piece[: len(fade)] *= fade
    if end < len(samples):
        piece[len(piece) - len(fade) :] *= fade[::-1]
    return piece, start


def _level(samples: FloatArray, sample_rate_hz: int) -> FloatArray:
    """The samples at ``LEVEL``, or as near as ``CEILING`` allows: float32, -0.95..0.95."""
    loudness = _loudness(samples, max(1, round(WINDOW_S * sample_rate_hz)))
    active = loudness[loudness > ACTIVE * loudness.max()]
    gain = min(LEVEL / float(np.sqrt(np.mean(np.square(active)))), CEILING / float(np.abs(samples).max()))
    levelled: FloatArray = samples * np.float32(gain)
    return levelled


def _word_times(
    ids: IntArray, frames: IntArray, sound: Sound, *, offset: int, low: int, high: int
) -> list[tuple[float, float]]:
    """Start and end of every word, in seconds: ``offset`` samples are added, and all is kept in ``low``..``high``."""
    ends = np.cumsum(frames) * sound.hop_samples + offset
    starts = ends - frames * sound.hop_samples
    return [
        (
            float(np.clip(starts[word[0]], low, high)) / sound.sample_rate_hz,
            float(np.clip(ends[word[-1]], low, high)) / sound.sample_rate_hz,
        )
        for word in _words(ids, sound)
    ]


def _words(ids: IntArray, sound: Sound) -> Iterator[list[int]]:
    """Per word the positions of its spoken ids; what lies between spaces and is not spoken is no word."""
    number = np.cumsum(ids == sound.space_id) if sound.space_id is not None else np.zeros(len(ids), dtype=np.int64)
    for _, group in itertools.groupby(range(len(ids)), key=lambda at: int(number[at])):
        if spoken := [at for at in group if int(ids[at]) in sound.spoken_ids]:
            yield spoken


def _pair_words(text: str, times: list[tuple[float, float]] | None) -> tuple[WordTime, ...]:
    """The times with the text's words; none if the counts differ ("5" is one word, "fifty-one" may be two)."""
    words = [word for word in text.split() if any(char.isalnum() for char in word)]
    if times is None or len(times) != len(words):
        return ()
    return tuple(WordTime(word=word, start_s=start, end_s=end) for word, (start, end) in zip(words, times, strict=True))
