"""Audio after the engine: joins segments and writes the requested format.

Samples are float32, shape (samples,), -1..1 (1.0 is full scale), mono, at ``sample_rate_hz``.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from stentor.errors import AudioUnencodable
from stentor.formats import FORMATS, MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ

#: libsndfile's names of container and codec.
_CODECS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "OPUS"),
}
#: The serial number of our Ogg streams, which must be unique in its file only. libsndfile takes one from the clock.
_OGG_SERIAL = b"STNT"
#: Maximum number of 16-bit samples of a WAV. Longer audio is written as RF64 (EBU Tech 3306), which most programs read.
WAV_SAMPLES = 2**31 - 1024
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def join(pieces: Sequence[NDArray[np.float32]], pauses_s: Sequence[float], sample_rate_hz: int) -> NDArray[np.float32]:
    """The pieces one after the other, each followed by its pause: float32, shape (samples of all,).

    ``pieces`` are float32, shape (samples,), at ``sample_rate_hz``; ``pauses_s`` has one entry for each
    piece, and the last entry is usually 0. The result is a new array.

    Raises:
        ValueError: the numbers of pauses and pieces differ.
    """
    parts: list[NDArray[np.float32]] = [np.zeros(0, np.float32)]
    for piece, pause_s in zip(pieces, pauses_s, strict=True):
        parts += [piece, np.zeros(round(pause_s * sample_rate_hz), np.float32)]
    return np.concatenate(parts)


def encode(
    samples: NDArray[np.float32],
    *,
    sample_rate_hz: int,
    format: str,  # noqa: A002 - the name of this field in jobs and HTTP
    target_sample_rate_hz: int | None = None,
) -> bytes:
    """A whole audio file; the same samples give the same bytes, in every format.

    ``samples`` is float32, shape (samples,), at ``sample_rate_hz``; values outside -1..1 are clipped. ``wav`` and
    ``flac`` are 16-bit, ``mp3`` has a variable bit rate, ``ogg`` is Opus. The rate is ``target_sample_rate_hz`` (by
    default the rate of the samples), or the next higher rate of the codec; soxr resamples if they differ.

    Raises:
        AudioUnencodable: no samples, the format or the target rate is not one of ours, or the codec refuses; the cause
            is kept.
    """
    if format not in FORMATS:
        raise AudioUnencodable(f"Unknown format {format!r}. Available formats: {', '.join(FORMATS)}.")
    if target_sample_rate_hz is not None and not MIN_SAMPLE_RATE_HZ <= target_sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise AudioUnencodable(
            f"The target sample rate is {target_sample_rate_hz} Hz. "
            f"Allowed rates: {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} Hz."
        )
    if samples.size == 0:  # codecs would write a file that no program can open
        raise AudioUnencodable("The audio has 0 samples. The minimum is 1.")
    rate_hz = FORMATS[format].nearest_rate_hz(target_sample_rate_hz or sample_rate_hz)
    try:
        # (samples at sample_rate_hz,) -> (samples at rate_hz,)
        resampled = samples if rate_hz == sample_rate_hz else soxr.resample(samples, sample_rate_hz, rate_hz, "VHQ")
        encoded = _write(sixteen_bits(resampled), rate_hz, *_CODECS[format])
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as exc:
        raise AudioUnencodable(
            f"{samples.size} samples at {sample_rate_hz} Hz cannot be written as {format} at {rate_hz} Hz: {exc}"
        ) from exc
    return _with_fixed_serial(encoded) if format == "ogg" else encoded


def write_file(
    path: Path,
    blocks: Iterable[NDArray[np.int16]],
    *,
    samples: int,
    sample_rate_hz: int,
    format: str,  # noqa: A002 - as in encode
) -> None:
    """Write blocks of samples (int16, shape (samples,)) as one file of any length, at a rate that the format allows.

    ``samples`` is the number of samples of all blocks together.

    Raises:
        AudioUnencodable: the codec refuses.
    """
    container, codec = _CODECS[format]
    if container == "WAV" and samples > WAV_SAMPLES:
        container = "RF64"
    try:
        with soundfile.SoundFile(
            path, "w", samplerate=sample_rate_hz, channels=1, format=container, subtype=codec
        ) as file:
            for block in blocks:
                file.write(block)
    except soundfile.SoundFileError as exc:
        raise AudioUnencodable(f"Audio at {sample_rate_hz} Hz cannot be written as {format}: {exc}") from exc


def sixteen_bits(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Rounded to the nearest step of 1/32768 and clipped: int16, shape (samples,)."""
    steps: NDArray[np.float32] = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767)
    return steps.astype(np.int16)


def _write(frames: NDArray[np.int16], rate_hz: int, container: str, codec: str) -> bytes:
    target = io.BytesIO()
    with soundfile.SoundFile(target, "w", samplerate=rate_hz, channels=1, format=container, subtype=codec) as file:
        file.write(frames)
    return target.getvalue()


def _with_fixed_serial(ogg: bytes) -> bytes:
    """The same Ogg stream with our serial number in every page, and every page's checksum to match (RFC 3533)."""
    pages = bytearray(ogg)
    start = 0
    while start < len(pages):
        body = start + 27 + pages[start + 26]
        end = body + sum(pages[start + 27 : body])
        pages[start + 14 : start + 18] = _OGG_SERIAL
        pages[start + 22 : start + 26] = bytes(4)
        pages[start + 22 : start + 26] = _ogg_crc(pages[start:end]).to_bytes(4, "little")
        start = end
    return bytes(pages)


def _ogg_crc(page: bytearray) -> int:
    """Ogg's CRC-32: zlib's polynomial, but bits from high to low, starting from 0 and not inverted at the end."""
    mirrored = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
