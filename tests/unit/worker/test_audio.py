"""Audio after the engine: joined to the sample, and the same sound in every format."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stentor.errors import AudioUnencodable
from worker.finishing.audio import encode, join

RATE_HZ = 22_050
FORMATS = ("wav", "flac", "mp3", "ogg")


def sine(hz: float, *, level: float = 0.5, audio_s: float = 1.0, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """A tone: float32, shape (samples,), -level..level."""
    times_s = np.arange(round(audio_s * rate_hz)) / rate_hz
    return np.float32(level) * np.sin(2 * np.pi * hz * times_s).astype(np.float32)


def speechlike() -> NDArray[np.float32]:
    """Two and a half seconds of syllables: a swept tone with overtones whose level rises and falls."""
    times_s = np.arange(round(2.5 * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (120 * times_s + 20 * np.sin(3 * times_s))
    voiced = np.sum([np.sin(n * phase) / n for n in range(1, 12)], axis=0)
    samples: NDArray[np.float32] = (0.2 * voiced * np.sin(2 * np.pi * 1.7 * times_s) ** 2).astype(np.float32)
    return samples


def decoded(body: bytes) -> tuple[NDArray[np.float32], Any]:
    with soundfile.SoundFile(io.BytesIO(body)) as file:
        return file.read(dtype="float32"), file


def likeness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    size = min(len(one), len(other))
    return float(np.corrcoef(one[:size], other[:size])[0, 1])


def frequency_and_level(samples: NDArray[np.float32], rate_hz: int) -> tuple[float, float]:
    """Of the loudest tone in the middle of the recording, by a parabola through the spectrum's logarithm."""
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    window = np.hanning(len(middle))
    spectrum = np.abs(np.fft.rfft(middle * window))
    top = int(np.argmax(spectrum))
    left, peak, right = np.log(spectrum[top - 1 : top + 2])
    hz = (top + 0.5 * (left - right) / (left - 2 * peak + right)) * rate_hz / len(middle)
    return float(hz), float(np.sqrt(2 * np.mean(middle**2)))


# --- join


def test_pieces_and_pauses_follow_each_other_to_the_sample() -> None:
    one, two = np.full(100, 0.25, np.float32), np.full(50, -0.5, np.float32)
    joined = join([one, two], [0.01, 0.0], 1000)
    assert joined.dtype == np.float32
    assert joined.tolist() == [0.25] * 100 + [0.0] * 10 + [-0.5] * 50


def test_joining_nothing_gives_no_samples_and_joining_one_piece_a_copy() -> None:
    assert join([], [], RATE_HZ).shape == (0,)
    piece = np.ones(3, np.float32)
    joined = join([piece], [0.0], RATE_HZ)
    joined[:] = 0
    assert piece.tolist() == [1, 1, 1]


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 600)), max_size=8))
def test_a_joined_recording_is_as_long_as_its_parts(parts: list[tuple[int, int]]) -> None:
    pieces = [np.ones(size, np.float32) for size, _ in parts]
    joined = join(pieces, [pause_ms / 1000 for _, pause_ms in parts], 16_000)
    assert len(joined) == sum(size + 16 * pause_ms for size, pause_ms in parts)
    assert np.count_nonzero(joined) == sum(size for size, _ in parts)


def test_a_pause_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        join([np.ones(1, np.float32)], [], RATE_HZ)


# --- encode


@pytest.mark.parametrize(
    ("name", "target_hz", "expected_hz", "subtype", "likest"),
    [
        ("wav", None, 22_050, "PCM_16", 0.99999),
        ("wav", 8_000, 8_000, "PCM_16", 0.99),
        ("wav", 12_345, 12_345, "PCM_16", 0.99),
        ("wav", 48_000, 48_000, "PCM_16", 0.9999),
        ("flac", None, 22_050, "PCM_16", 0.99999),
        ("flac", 44_100, 44_100, "PCM_16", 0.9999),
        ("mp3", None, 22_050, "MPEG_LAYER_III", 0.99),
        ("mp3", 12_345, 16_000, "MPEG_LAYER_III", 0.99),
        ("mp3", 44_100, 44_100, "MPEG_LAYER_III", 0.99),
        ("ogg", None, 24_000, "OPUS", 0.97),
        ("ogg", 16_000, 16_000, "OPUS", 0.97),
        ("ogg", 44_100, 48_000, "OPUS", 0.97),
    ],
)
def test_a_file_decodes_to_the_sound_that_went_in(
    name: str, target_hz: int | None, expected_hz: int, subtype: str, likest: float
) -> None:
    samples = speechlike()
    body = encode(samples, sample_rate_hz=RATE_HZ, format=name, target_sample_rate_hz=target_hz)
    heard, file = decoded(body)
    assert (file.samplerate, file.channels, file.subtype) == (expected_hz, 1, subtype)
    assert len(heard) / expected_hz == pytest.approx(2.5, abs=0.001)
    at_s = np.arange(len(heard)) / expected_hz
    wanted = np.interp(at_s, np.arange(len(samples)) / RATE_HZ, samples).astype(np.float32)
    assert likeness(heard, wanted) > likest
    assert np.abs(heard).max() == pytest.approx(np.abs(samples).max(), rel=0.1)


def test_sixteen_bits_are_the_nearest_and_lossless_in_both_lossless_formats() -> None:
    samples = speechlike()
    wav, _ = decoded(encode(samples, sample_rate_hz=RATE_HZ, format="wav"))
    flac, _ = decoded(encode(samples, sample_rate_hz=RATE_HZ, format="flac"))
    assert np.abs(wav - samples).max() <= 0.5 / 32768
    assert np.array_equal(wav, flac)


def test_what_is_too_loud_is_clipped_and_does_not_wrap_around() -> None:
    samples = np.array([0.0, 0.5, 1.0, 1.5, 100.0, -1.0, -1.5, -100.0], np.float32)
    body = encode(samples, sample_rate_hz=RATE_HZ, format="wav")
    pcm = np.frombuffer(body[44:], "<i2")
    assert pcm.tolist() == [0, 16384, 32767, 32767, 32767, -32768, -32768, -32768]


def test_a_resampled_tone_too_loud_keeps_its_sign() -> None:
    samples = np.sign(sine(100, level=1.0))
    heard, _ = decoded(encode(samples, sample_rate_hz=RATE_HZ, format="wav", target_sample_rate_hz=44_100))
    doubled = np.repeat(samples, 2)
    assert np.mean(np.sign(heard) == np.sign(doubled)) > 0.98
    assert np.abs(heard[np.abs(doubled) > 0]).mean() > 0.95


@pytest.mark.parametrize("target_hz", [8_000, 12_345, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("hz", [100.0, 1000.0, 3000.0])
def test_resampling_keeps_a_tones_pitch_and_level(hz: float, target_hz: int) -> None:
    body = encode(sine(hz), sample_rate_hz=RATE_HZ, format="wav", target_sample_rate_hz=target_hz)
    heard_hz, level = frequency_and_level(decoded(body)[0], target_hz)
    assert heard_hz == pytest.approx(hz, abs=0.05)
    assert level == pytest.approx(0.5, rel=0.002)


def test_resampling_lets_no_tone_fold_back_that_the_new_rate_cannot_hold() -> None:
    body = encode(sine(6000), sample_rate_hz=RATE_HZ, format="wav", target_sample_rate_hz=8_000)
    middle = decoded(body)[0][1000:-1000]
    assert np.abs(middle).max() < 1e-4


SCRIPT = """
import base64, numpy as np
from worker.finishing.audio import encode
samples = (0.5 * np.sin(np.arange(22050) / 20)).astype(np.float32)
for name in ("wav", "flac", "mp3", "ogg"):
    print(base64.b64encode(encode(samples, sample_rate_hz=22050, format=name)).decode())
"""


def test_the_same_samples_give_the_same_bytes_in_every_process() -> None:
    samples = (0.5 * np.sin(np.arange(22050) / 20)).astype(np.float32)
    elsewhere = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True).stdout
    here = [encode(samples, sample_rate_hz=RATE_HZ, format=name) for name in FORMATS]
    assert [base64.b64decode(line) for line in elsewhere.splitlines()] == here


def test_an_mp3_has_a_variable_bit_rate() -> None:
    assert b"Xing" in encode(speechlike(), sample_rate_hz=RATE_HZ, format="mp3")[:512]


def crc_of_page(page: bytes) -> int:
    """RFC 3533, section 6: polynomial 0x04c11db7, from the highest bit down, starting from 0, nothing inverted."""
    remainder = 0
    for byte in page:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x04C11DB7 if remainder & 0x80000000 else 0)
            remainder &= 0xFFFFFFFF
    return remainder


def pages_of(ogg: bytes) -> list[bytes]:
    pages = []
    while ogg:
        body = 27 + ogg[26]
        size = body + sum(ogg[27:body])
        pages.append(ogg[:size])
        ogg = ogg[size:]
    return pages


def test_every_page_of_an_ogg_file_has_one_serial_number_and_a_true_checksum() -> None:
    pages = pages_of(encode(speechlike(), sample_rate_hz=RATE_HZ, format="ogg"))
    assert len(pages) > 3
    for number, page in enumerate(pages):
        assert page[:4] == b"OggS"
        assert int.from_bytes(page[18:22], "little") == number
        assert page[14:18] == b"STNT"
        blanked = page[:22] + bytes(4) + page[26:]
        assert int.from_bytes(page[22:26], "little") == crc_of_page(blanked)


@pytest.mark.parametrize("name", FORMATS)
def test_another_library_reads_the_file_and_hears_the_same(name: str) -> None:
    body = encode(sine(440, audio_s=2.0), sample_rate_hz=RATE_HZ, format=name)
    with av.open(io.BytesIO(body), "r") as container:
        stream = container.streams.audio[0]
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
        rate_hz, channels = stream.rate, stream.channels
    whole = np.concatenate(frames, axis=1)[0]
    samples = whole.astype(np.float32) / (32768 if whole.dtype == np.int16 else 1)
    heard_hz, level = frequency_and_level(samples, rate_hz)
    assert channels == 1
    assert len(samples) / rate_hz == pytest.approx(2.0, abs=0.1)  # the codec's own delay may be in it
    assert heard_hz == pytest.approx(440, abs=0.2)
    assert level == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("name", FORMATS)
def test_a_single_sample_is_a_file_too(name: str) -> None:
    heard, _ = decoded(encode(np.full(1, 0.5, np.float32), sample_rate_hz=RATE_HZ, format=name))
    assert 1 <= len(heard) <= 2


def test_a_format_that_is_not_ours_is_named_with_those_that_are() -> None:
    with pytest.raises(AudioUnencodable, match=r"^Unknown format 'aac'\. Available formats: wav, flac, mp3, ogg\.$"):
        encode(sine(200), sample_rate_hz=RATE_HZ, format="aac")


@pytest.mark.parametrize("target_hz", [-1, 0, 7_999, 48_001])
def test_a_rate_out_of_range_is_named_with_the_range(target_hz: int) -> None:
    with pytest.raises(
        AudioUnencodable, match=rf"^The target sample rate is {target_hz} Hz\. Allowed rates: 8000 to 48000 Hz\.$"
    ):
        encode(sine(200), sample_rate_hz=RATE_HZ, format="wav", target_sample_rate_hz=target_hz)


@pytest.mark.parametrize("name", FORMATS)
def test_no_samples_are_no_file(name: str) -> None:
    with pytest.raises(AudioUnencodable, match=r"^The audio has 0 samples\. The minimum is 1\.$"):
        encode(np.zeros(0, np.float32), sample_rate_hz=RATE_HZ, format=name)


def test_what_a_codec_refuses_is_named_and_keeps_its_cause() -> None:
    with pytest.raises(AudioUnencodable, match=r"4 samples at 22050 Hz cannot be written as wav") as raised:
        encode(np.zeros((2, 2), np.float32), sample_rate_hz=RATE_HZ, format="wav")
    assert isinstance(raised.value.__cause__, ValueError)
