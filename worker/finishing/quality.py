"""Is it speech, and how does it sound: checks and figures of what an engine answered. Pure.

Samples are float32, shape (samples,), -1..1 (1.0 is full scale), mono, at ``sample_rate_hz``. Levels are in dBFS (0 is
a sample at full scale), loudness in LUFS after ITU-R BS.1770-4.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import threading
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import soxr
from numpy.typing import NDArray

from stentor.errors import AudioInvalid

if TYPE_CHECKING:
    from pyloudnorm import Meter

#: Audio whose loudest sample is below this is silence: the noise floor of a quiet room's recording lies near it,
#: and speech at its softest peaks 20 dB above.
SILENCE_DBFS = -60.0
#: A window whose root mean square is below this is a pause. Of the joe voice's 60 notices 9 to 27% is (median 19%),
#: which is what one hears between phrases and around them; from -55 to -45 dBFS the share changes by 3 points.
PAUSE_DBFS = -50.0
#: Length of the windows that ``silence_ratio`` counts.
WINDOW_S = 0.01
#: What peak and loudness of digital silence are told as: JSON has no minus infinity, 20-bit audio nothing lower.
FLOOR_DBFS = -120.0

#: A sample lies at the edge when it comes within 0.1% of the recording's own peak, wherever that is: clipped audio that
#: was turned down afterwards is as flat.
EDGE = 0.999
#: More than this share of samples at the edge is no speech but a square wave, a level that does not move, or a
#: recording of a sample or two. Joe's notices have at most 0.003%, amplified by 6 dB and clipped 2.4%, by 14 dB 16%,
#: by 20 dB (which hurts) 10 to 32%; a sine has 2.8%.
MAX_EDGE_SHARE = 0.2

#: Longest speech, at speed 1: so much for any text, and so much more for each of its characters. The joe voice takes
#: 0.06 to 0.15 s for a letter or digit of the notices; 0.66 for "W", 0.61 for each of "777777", 0.88 for each Han
#: character (as "Chinese letter"), 1.0 for an emoji, and 1.2 for U+FDFA, a blessing in one character.
MAX_BASE_S, MAX_S_PER_CHAR = 5.0, 1.5
#: Shortest speech, at speed 1, for each character beyond the first ones, which may be such as a voice passes over (a
#: row of emojis). A sixth of the quickest notice; joe takes 0.08 s for each letter of "I I I I I I I I".
MIN_S_PER_CHAR, FREE_CHARS = 0.01, 20

#: True peak that a gain leaves room for: what EBU R 128 allows, so that resampling and lossy codecs do not clip.
CEILING_DBTP = -1.0
#: Samples between samples that are looked at for the true peak (ITU-R BS.1770-4, annex 2).
OVERSAMPLING = 4
#: BS.1770-4 measures in blocks of 0.4 s; what is shorter has no loudness.
BLOCK_S = 0.4

#: A row of one symbol ("=====" under a headline) is mostly not read out, or not for ever.
_SYMBOL_RUN = re.compile(r"([^\w\s])\1{9,}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """How a recording sounds, in figures."""

    #: Its loudest sample, not below ``FLOOR_DBFS``.
    peak_dbfs: float
    #: Integrated loudness; None when it is shorter than 0.4 s, or too soft to have one (-70 LUFS).
    loudness_lufs: float | None
    #: Share of windows of 10 ms whose root mean square is below ``PAUSE_DBFS``, 0..1.
    silence_ratio: float
    #: Seconds for each character of the text.
    s_per_char: float

    def as_fields(self) -> dict[str, float]:
        """The figures that a job's record carries, rounded to what can be heard; what is None is left out."""
        fields = {"peak_dbfs": round(self.peak_dbfs, 2)}
        if self.loudness_lufs is not None:
            fields["loudness_lufs"] = round(self.loudness_lufs, 2)
        return fields | {"silence_ratio": round(self.silence_ratio, 3), "s_per_char": round(self.s_per_char, 4)}


def measure(samples: NDArray[np.float32], sample_rate_hz: int, text_chars: int) -> Quality:
    """The figures of a recording that passed ``check``; 2 ms for 5 s of audio at 22050 Hz."""
    return Quality(
        peak_dbfs=max(FLOOR_DBFS, _dbfs(_peak(samples))),
        loudness_lufs=loudness_lufs(samples, sample_rate_hz),
        silence_ratio=_silence_ratio(samples, sample_rate_hz),
        s_per_char=len(samples) / sample_rate_hz / max(1, text_chars),
    )


def loudness_lufs(samples: NDArray[np.float32], sample_rate_hz: int) -> float | None:
    """Integrated loudness (ITU-R BS.1770-4); None when it is shorter than 0.4 s, or softer than -70 LUFS throughout."""
    if len(samples) < BLOCK_S * sample_rate_hz:
        return None
    lufs = float(_meter(sample_rate_hz).integrated_loudness(samples))
    return lufs if math.isfinite(lufs) else None


def warm_up() -> None:
    """Import what loudness needs, so that the first job does not wait for it: scipy takes 0.5 s and 85 MB."""
    _meter(22_050)


def warm_up_in_background() -> None:
    """``warm_up`` in a thread, while a first model is being loaded."""
    threading.Thread(target=warm_up, name="warm-up", daemon=True).start()


@functools.lru_cache
def _meter(sample_rate_hz: int) -> Meter:
    from pyloudnorm import Meter  # noqa: PLC0415 (imports scipy)

    # Of the filters that it knows, De Man's are the ones that meet the coefficients in the recommendation.
    return Meter(sample_rate_hz, filter_class="DeMan", block_size=BLOCK_S)


def spoken_chars(text: str) -> int:
    """How many characters of a text a voice may say: letters, digits and symbols, but not spaces and punctuation.

    Counts for ``check``. Of a row of one symbol the first ten count.
    """
    shown = _SYMBOL_RUN.sub(lambda row: row[0][:10], text)
    return sum(unicodedata.category(char)[0] in "LNS" for char in shown)


def check(samples: NDArray[np.float32], sample_rate_hz: int, text_chars: int, *, speed: float) -> None:
    """Pass when the samples may be speech of a text of that length; 0.1 ms for 5 s of audio at 22050 Hz.

    Bounds are wide: they find an engine that broke down, not one that speaks badly. ``text_chars`` is what
    ``spoken_chars`` counts. ``speed`` makes the bounds wider, never narrower: not every engine follows it, and pauses
    that we add do not.

    Raises:
        AudioInvalid: no samples, a sample that is not a finite number, silence from end to end, flat clipping, or a
            length that speech of such a text does not have. Another seed may help.
    """
    _check_samples(samples)
    peak = _peak(samples)
    if _dbfs(peak) < SILENCE_DBFS:
        raise AudioInvalid(
            f"The engine's audio is silent: its peak is {_dbfs(peak):.1f} dBFS, "
            f"and at least {SILENCE_DBFS:.1f} is wanted"
        )
    at_edge = np.count_nonzero(np.abs(samples) >= EDGE * peak) / samples.size
    if at_edge > MAX_EDGE_SHARE:
        raise AudioInvalid(
            f"The engine's audio is clipped flat: {at_edge:.0%} of {samples.size} samples lie within 0.1% of its peak "
            f"of {_dbfs(peak):.1f} dBFS, and at most {MAX_EDGE_SHARE:.0%} is wanted"
        )
    _check_length(samples.size / sample_rate_hz, text_chars, speed)


def _check_samples(samples: NDArray[np.float32]) -> None:
    if samples.size == 0:
        raise AudioInvalid("The engine's audio has 0 samples; at least 1 is wanted")
    finite = np.isfinite(samples)
    if not finite.all():
        first = int(np.argmin(finite))
        raise AudioInvalid(
            f"{samples.size - np.count_nonzero(finite)} of {samples.size} samples are not finite numbers, "
            f"the first of them ({samples[first]}) at index {first}; none is allowed"
        )


def _check_length(audio_s: float, text_chars: int, speed: float) -> None:
    shortest_s = MIN_S_PER_CHAR * max(0, text_chars - FREE_CHARS) / max(1.0, speed)
    longest_s = MAX_BASE_S + MAX_S_PER_CHAR * text_chars / min(1.0, speed)
    if not shortest_s <= audio_s <= longest_s:
        raise AudioInvalid(
            f"The engine's audio lasts {audio_s:.2f} s; for {text_chars} characters to speak at speed {speed:g}, "
            f"{shortest_s:.2f} to {longest_s:.2f} s is wanted"
        )


def to_loudness(samples: NDArray[np.float32], sample_rate_hz: int, target_lufs: float) -> NDArray[np.float32]:
    """The samples at that loudness, or as near to it as their true peak may come to ``CEILING_DBTP``.

    One gain for the whole recording: float32, shape (samples,). Unchanged when it has no loudness. 3 ms for 5 s of
    audio at 22050 Hz.
    """
    lufs = loudness_lufs(samples, sample_rate_hz)
    if lufs is None:
        return samples
    room_db = CEILING_DBTP - _dbfs(_true_peak(samples, sample_rate_hz))
    gain: float = 10 ** (min(target_lufs - lufs, room_db) / 20)
    return samples * np.float32(gain)


def _true_peak(samples: NDArray[np.float32], sample_rate_hz: int) -> float:
    """The peak of the wave between the samples too: 1.0 is full scale."""
    # (samples,) -> (samples * OVERSAMPLING,)
    finer = soxr.resample(samples, sample_rate_hz, OVERSAMPLING * sample_rate_hz, "HQ")
    return max(_peak(samples), _peak(finer))


def _silence_ratio(samples: NDArray[np.float32], sample_rate_hz: int) -> float:
    size = max(1, round(WINDOW_S * sample_rate_hz))
    count = max(1, len(samples) // size)
    windows = samples[: count * size].reshape(count, -1)  # (samples,) -> (windows, samples of a window)
    power = np.einsum("ws,ws->w", windows, windows) / max(1, windows.shape[1])
    return float(np.count_nonzero(power < 10 ** (PAUSE_DBFS / 10))) / count


def _peak(samples: NDArray[np.float32]) -> float:
    return float(max(samples.max(), -samples.min())) if samples.size else 0.0


def _dbfs(level: float) -> float:
    return 20 * math.log10(level) if level else -math.inf
