"""Checks whether an engine's audio may be speech, and measures how it sounds. Pure.

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

#: Audio whose loudest sample is below this is silence: it is near the noise floor of a recording in a quiet room, and
#: the softest speech peaks 20 dB above it.
SILENCE_DBFS = -60.0
#: A window whose root mean square is below this is a pause: 9 to 27% of the joe voice's 60 notices (median 19%), which
#: matches the audible pauses between and around phrases. From -55 to -45 dBFS the share changes by 3 points.
PAUSE_DBFS = -50.0
#: Length of the windows that ``silence_ratio`` counts.
WINDOW_S = 0.01
#: Peak and loudness of digital silence are reported as this: JSON has no minus infinity, and 20-bit audio nothing
#: lower.
FLOOR_DBFS = -120.0

#: A sample is at the edge if it is within 0.1% of the recording's own peak, at any level: clipped audio that was turned
#: down afterwards is just as flat.
EDGE = 0.999
#: More than this share of samples at the edge is not speech but a square wave, a constant level, or a recording of a
#: sample or two. Joe's notices have at most 0.003%; amplified by 6 dB and clipped 2.4%, by 14 dB 16%, by 20 dB
#: (which hurts) 10 to 32%; a sine has 2.8%.
MAX_EDGE_SHARE = 0.2

#: Longest speech at speed 1, in seconds: for any text, and in addition for each of its characters. The joe voice takes
#: 0.06 to 0.15 s for a letter or digit of the notices; 0.66 for "W", 0.61 for each of "777777", 0.88 for each Han
#: character (as "Chinese letter"), 1.0 for an emoji, and 1.2 for U+FDFA, a blessing in one character.
MAX_BASE_S, MAX_S_PER_CHAR = 5.0, 1.5
#: Shortest speech at speed 1, in seconds, for each character after the first ones, which a voice may skip (a row of
#: emojis). A sixth of the quickest notice; joe takes 0.08 s for each letter of "I I I I I I I I".
MIN_S_PER_CHAR, FREE_CHARS = 0.01, 20

#: Maximum true peak after a gain, as EBU R 128 allows, so that resampling and lossy codecs do not clip.
CEILING_DBTP = -1.0
#: Oversampling with which the true peak is measured (ITU-R BS.1770-4, annex 2).
OVERSAMPLING = 4
#: BS.1770-4 measures in blocks of 0.4 s; shorter audio has no loudness.
BLOCK_S = 0.4

#: A row of one symbol ("=====" under a headline) is usually not read out, or not to its end.
_SYMBOL_RUN = re.compile(r"([^\w\s])\1{9,}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """How a recording sounds, in figures."""

    #: Its loudest sample, not below ``FLOOR_DBFS``.
    peak_dbfs: float
    #: Integrated loudness; None if the audio is shorter than 0.4 s, or softer than -70 LUFS throughout.
    loudness_lufs: float | None
    #: Share of windows of 10 ms whose root mean square is below ``PAUSE_DBFS``, 0..1.
    silence_ratio: float
    #: Seconds for each character of the text.
    s_per_char: float

    def as_fields(self) -> dict[str, float]:
        """The figures that a job's record carries, rounded to what is audible, without those that are None."""
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
    """Integrated loudness (ITU-R BS.1770-4); None if it is shorter than 0.4 s, or softer than -70 LUFS throughout."""
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

    # Among its filters, De Man's have the coefficients of the recommendation.
    return Meter(sample_rate_hz, filter_class="DeMan", block_size=BLOCK_S)


def spoken_chars(text: str) -> int:
    """Number of characters that a voice may speak: letters, digits and symbols, but not spaces and punctuation.

    Made for ``check``. Only the first ten of a row of one symbol count.
    """
    shown = _SYMBOL_RUN.sub(lambda row: row[0][:10], text)
    return sum(unicodedata.category(char)[0] in "LNS" for char in shown)


def check(samples: NDArray[np.float32], sample_rate_hz: int, text_chars: int, *, speed: float) -> None:
    """Refuse samples that cannot be speech of a text of that length; 0.1 ms for 5 s of audio at 22050 Hz.

    The bounds are wide: they find an engine that is broken, not one that speaks badly. ``text_chars`` is the result of
    ``spoken_chars``. ``speed`` makes the bounds wider, never narrower: not every engine follows it, and added pauses
    do not.

    Raises:
        AudioInvalid: no samples, a sample that is not a finite number, silence from end to end, flat clipping, or a
            length that speech of such a text does not have. Another seed may help.
    """
    _check_samples(samples)
    peak = _peak(samples)
    if _dbfs(peak) < SILENCE_DBFS:
        raise AudioInvalid(
            f"The engine's audio is silent: its peak is {_dbfs(peak):.1f} dBFS. The minimum is {SILENCE_DBFS:.1f} dBFS."
        )
    at_edge = np.count_nonzero(np.abs(samples) >= EDGE * peak) / samples.size
    if at_edge > MAX_EDGE_SHARE:
        raise AudioInvalid(
            f"The engine's audio is clipped flat: {at_edge:.0%} of {samples.size} samples are within 0.1% of its peak "
            f"of {_dbfs(peak):.1f} dBFS. The maximum is {MAX_EDGE_SHARE:.0%}."
        )
    _check_length(samples.size / sample_rate_hz, text_chars, speed)


def _check_samples(samples: NDArray[np.float32]) -> None:
    if samples.size == 0:
        raise AudioInvalid("The engine's audio has 0 samples. The minimum is 1.")
    finite = np.isfinite(samples)
    if not finite.all():
        first = int(np.argmin(finite))
        raise AudioInvalid(
            f"{samples.size - np.count_nonzero(finite)} of {samples.size} samples are not finite numbers, "
            f"the first one ({samples[first]}) at index {first}. All samples must be finite."
        )


def _check_length(audio_s: float, text_chars: int, speed: float) -> None:
    shortest_s = MIN_S_PER_CHAR * max(0, text_chars - FREE_CHARS) / max(1.0, speed)
    longest_s = MAX_BASE_S + MAX_S_PER_CHAR * text_chars / min(1.0, speed)
    if not shortest_s <= audio_s <= longest_s:
        raise AudioInvalid(
            f"The engine's audio lasts {audio_s:.2f} s. Speech of {text_chars} characters at speed {speed:g} "
            f"lasts {shortest_s:.2f} to {longest_s:.2f} s."
        )


def to_loudness(samples: NDArray[np.float32], sample_rate_hz: int, target_lufs: float) -> NDArray[np.float32]:
    """The samples at that loudness, or as near to it as a true peak of ``CEILING_DBTP`` allows.

    One gain for the whole recording: float32, shape (samples,). Unchanged if it has no loudness. 3 ms for 5 s of
    audio at 22050 Hz.
    """
    lufs = loudness_lufs(samples, sample_rate_hz)
    if lufs is None:
        return samples
    room_db = CEILING_DBTP - _dbfs(_true_peak(samples, sample_rate_hz))
    gain: float = 10 ** (min(target_lufs - lufs, room_db) / 20)
    return samples * np.float32(gain)


def _true_peak(samples: NDArray[np.float32], sample_rate_hz: int) -> float:
    """The peak of the wave, between the samples too: 1.0 is full scale."""
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
