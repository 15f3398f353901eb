"""Files that are sent as recordings and are none: each ends in a named problem, in a process that ends with it."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from stentor.errors import RecordingError
from tests.support.speech.recordings import audio_file, speech
from tests.support.stacks.stack import eventually
from worker.recordings import decode as child
from worker.recordings.sandbox import ENVIRON, Decoded, decode

OK = "ok"


@dataclasses.dataclass(frozen=True)
class Case:
    """A file, and what is said of it."""

    name: str
    make: Callable[[], bytes]
    code: str
    #: What the sentence says.
    says: str = ""


def wav(
    data: bytes, *, tag: int = 1, channels: int = 1, rate_hz: int = 24_000, bits: int = 16, size: int | None = None
) -> bytes:
    """A WAV file by hand, with whatever its header is to claim."""
    block = channels * bits // 8 % 65_536
    layout = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * block % 2**32, block, bits)
    claimed = len(data) if size is None else size
    return (
        b"RIFF" + struct.pack("<I", min(2**32 - 1, 36 + claimed)) + b"WAVEfmt " + struct.pack("<I", 16) + layout
        + b"data" + struct.pack("<I", claimed) + data
    )  # fmt: skip


def pcm(seconds: float) -> bytes:
    return (speech(seconds)[:, 0] * 32_767).astype("<i2").tobytes()


def floats(value: float) -> bytes:
    samples = speech(3)[:, 0].copy()
    samples[40_000] = value
    return audio_file(samples, subtype="FLOAT")


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        file.writestr("ann.wav", audio_file(speech(3)))
    return target.getvalue()


def video() -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=24_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(speech(3).T.astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = 24_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return target.getvalue()


def broken(body: bytes, *, every: int = 97) -> bytes:
    """The file with every so many bytes of its second half turned over."""
    changed = bytearray(body)
    for at in range(len(changed) // 2, len(changed), every):
        changed[at] ^= 0xFF
    return bytes(changed)


def rf64(data: bytes) -> bytes:
    """An RF64 file whose 64-bit sizes are those of a file of exabytes."""
    sizes = struct.pack("<QQQI", 2**62, 2**62, 2**61, 0)
    layout = struct.pack("<HHIIHH", 1, 1, 24_000, 48_000, 2, 16)
    return (
        b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 28) + sizes
        + b"fmt " + struct.pack("<I", 16) + layout + b"data\xff\xff\xff\xff" + data
    )  # fmt: skip


def silent_hour() -> bytes:
    return audio_file(np.zeros((3600 * 8000, 1), np.float32), 8000, "FLAC")


def square() -> bytes:
    return audio_file(np.sign(speech(3) + 1e-9).astype(np.float32))


def aiff_claiming(frames: int) -> bytes:
    body = bytearray(audio_file(speech(1), form="AIFF"))
    at = body.index(b"COMM") + 10
    body[at : at + 4] = struct.pack(">I", frames)
    return bytes(body)


def quiet_click() -> bytes:
    samples = np.zeros((24_000 * 5, 1), np.float32)
    samples[60_000:60_020] = 1.0
    return audio_file(samples)


CASES = [
    # What it says it is not
    Case("no byte", lambda: b"", "recording_unreadable"),
    Case("one byte", lambda: b"R", "recording_unreadable"),
    Case("ZIP", zipped, "recording_unreadable"),
    Case("HTML", lambda: b"<!doctype html><html><body>404</body></html>" * 50, "recording_unreadable"),
    Case("PDF", lambda: b"%PDF-1.7\n" + bytes(range(256)) * 50, "recording_unreadable"),
    Case("PNG", lambda: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 50, "recording_unreadable"),
    Case("ELF", lambda: Path(sys.executable).read_bytes()[:100_000], "recording_unreadable"),
    Case("MP4", video, "recording_unreadable"),
    Case("text", lambda: b"Not a sound, just words. " * 500, "recording_unreadable"),
    Case("noise of bytes", lambda: np.random.default_rng(1).bytes(200_000), "recording_unreadable"),
    Case("zeros", lambda: bytes(200_000), "recording_unreadable"),
    Case("JSON", lambda: json.dumps({"error": "recording_ok", "key": "x"}).encode(), "recording_unreadable"),
    # Headers that lie
    Case("only a RIFF header", lambda: b"RIFF\x24\x00\x00\x00WAVE", "recording_unreadable"),
    Case("header without samples", lambda: wav(b""), "recording_unreadable", "0 samples"),
    Case("data of 4 GB that is 1 s", lambda: wav(pcm(1), size=2**32 - 1), "recording_too_short"),
    Case("data of 4 GB that is 3 s", lambda: wav(pcm(3), size=2**32 - 1), OK),
    Case("0 Hz", lambda: wav(pcm(3), rate_hz=0), "recording_unreadable"),
    Case("1 Hz", lambda: wav(pcm(3), rate_hz=1), "recording_unreadable", "sample rate of 1 Hz. 8000 to 192000 Hz"),
    Case("384 kHz", lambda: wav(pcm(3), rate_hz=384_000), "recording_unreadable", "rate of 384000 Hz"),
    Case("4 GHz", lambda: wav(pcm(3), rate_hz=2**32 - 1), "recording_unreadable"),
    Case("0 channels", lambda: wav(pcm(3), channels=0), "recording_unreadable"),
    Case("9 channels", lambda: audio_file(speech(3, channels=9)), "recording_unreadable", "has 9 channels. 1 to 8"),
    Case("65535 channels", lambda: wav(pcm(3), channels=65_535), "recording_unreadable"),
    Case("0 bits", lambda: wav(pcm(3), bits=0), "recording_unreadable"),
    Case("a codec of nobody", lambda: wav(pcm(3), tag=0x7777), "recording_unreadable"),
    Case("RF64 of exabytes that is 1 s", lambda: rf64(pcm(1)), "recording_too_short"),
    Case("AIFF of a billion frames", lambda: aiff_claiming(10**9), "recording_too_short"),
    Case("AIFF of no frames", lambda: aiff_claiming(0), "recording_too_short"),
    # Broken on the way
    Case("cut in the middle of a sample", lambda: wav(pcm(3))[:50_001], "recording_too_short"),
    Case("FLAC cut", lambda: audio_file(speech(3), form="FLAC")[:20_000], "recording_unreadable", "lost sync"),
    Case("FLAC with broken frames", lambda: broken(audio_file(speech(3), form="FLAC")), "recording_unreadable"),
    Case("FLAC header alone", lambda: audio_file(speech(3), form="FLAC")[:50], "recording_unreadable"),
    Case("Ogg cut", lambda: audio_file(speech(3), form="OGG", subtype="OPUS")[:4000], "recording_unreadable"),
    Case(
        "Ogg with broken pages",
        lambda: broken(audio_file(speech(3), form="OGG", subtype="VORBIS")),
        "recording_too_short",
    ),
    Case("MP3 of no whole frame", lambda: audio_file(speech(3), form="MP3")[:60], "recording_unreadable"),
    Case("MP3 cut", lambda: audio_file(speech(3), form="MP3")[:6000], "recording_too_short"),
    # Samples that are none
    Case("NaN", lambda: floats(np.nan), "recording_unreadable", "sample 40000 of the recording is nan"),
    Case("infinity", lambda: floats(np.inf), "recording_unreadable", "sample 40000 of the recording is inf"),
    Case("1e30", lambda: floats(1e30), "recording_unreadable", "is 1e+30 of full scale"),
    # Not what a voice is made of
    Case("an hour of silence in 15 kB", silent_hour, "recording_too_long", "lasts more than 600 s"),
    Case(
        "5 s of silence", lambda: audio_file(np.zeros((24_000 * 5, 1), np.float32)), "recording_too_short", "0.00 s of"
    ),
    Case("a constant level", lambda: audio_file(np.full((24_000 * 5, 1), 0.5, np.float32)), "recording_too_short"),
    Case("a click", quiet_click, "recording_too_short"),
    Case("clipped flat", square, "recording_unusable", "100% of its samples"),
    Case("1.9 s", lambda: audio_file(speech(1.9)), "recording_too_short", "1.90 s of speech in its 1.90 s; 2 to 60 s"),
    Case("61 s", lambda: audio_file(speech(61)), "recording_too_long", "61.00 s of speech in its 61.00 s; 2 to 60 s"),
    # What people do send
    Case("192 kHz", lambda: audio_file(speech(3, 192_000), 192_000), OK),
    Case("8 channels", lambda: audio_file(speech(3, channels=8)), OK),
    Case("8 kHz A-law", lambda: audio_file(speech(3, 8000), 8000, subtype="ALAW"), OK),
    Case(
        "MP3 with a picture before it",
        lambda: b"ID3\x04\x00\x00\x00\x01\x00\x00" + bytes(2**14) + audio_file(speech(3), form="MP3"),
        OK,
    ),
    Case("AIFF", lambda: audio_file(speech(3), form="AIFF"), OK),
    Case("CAF", lambda: audio_file(speech(3), form="CAF", subtype="ALAC_16"), OK),
    Case("Opus", lambda: audio_file(speech(3), form="OGG", subtype="OPUS"), OK),
    Case("floats above full scale", lambda: audio_file(speech(3, level=4), subtype="FLOAT"), OK),
]


def processes() -> list[str]:
    """Processes that decode, of anybody on this machine."""
    listed = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "worker.recordings.decode" in line and str(os.getpid()) in line]


def outcome(body: bytes, folder: Path) -> tuple[str, str, Decoded | None]:
    source = folder / "upload"
    source.write_bytes(body)
    try:
        decoded = decode(source, folder)
    except RecordingError as exc:
        return exc.code, exc.detail, None
    return OK, "", decoded


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_is_a_voice_or_a_named_problem(case: Case, tmp_path: Path) -> None:
    code, detail, decoded = outcome(case.make(), tmp_path)
    assert (code, case.says in detail) == (case.code, True), detail
    assert str(tmp_path) not in detail
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["upload", "said", "said.err", *(["audio.wav"] if decoded else [])]
    )
    assert processes() == []
    if decoded:
        assert 2.8 < decoded.figures["duration_s"] <= 3.1


# --- the process


def started(code: str, *, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A process that limits itself as decoding does, and then runs ``code``."""
    script = f"from worker.recordings.decode import limit\nlimit()\n{code}"
    return subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=60, check=False, env=dict(ENVIRON)
    )


def test_the_process_takes_no_more_memory_than_it_may() -> None:
    done = started("bytearray(2 * 2**30)")
    assert "MemoryError" in done.stderr


def test_the_process_writes_no_more_than_it_may(tmp_path: Path) -> None:
    done = started(f"open({str(tmp_path / 'big')!r}, 'wb').write(bytes(64 * 2**20))")
    assert done.returncode != 0
    assert (tmp_path / "big").stat().st_size <= child.FILE_BYTES


def test_the_process_opens_no_more_files_than_it_may() -> None:
    assert "Too many open files" in started("files = [open('/dev/null') for _ in range(100)]").stderr


def test_the_process_takes_no_more_processor_time_than_it_may() -> None:
    limits = "import resource; print(resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_CORE))"
    assert started(limits).stdout.strip() == "(20, 20) (0, 0)"


def test_the_process_knows_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STENTOR_S3_SECRET_KEY", "hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    looked = tmp_path / "looked"
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\nenv > {looked}\nexit 1\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    code, detail, _ = outcome(b"", tmp_path)
    assert (code, detail) == ("recording_unreadable", "decoding the recording ended with exit code 1")
    assert "hush" not in looked.read_text()
    assert "STENTOR" not in looked.read_text()


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("kill -SEGV $$", "ended with signal 11"),
        ("kill -XCPU $$", "took more processor time than it may"),
        ("echo '[1, 2]'", "gave no answer that can be read"),
        ("head -c 100000 /dev/zero", "gave no answer that can be read"),
        ("echo '{}'", "gave no audio"),
        ("""echo '{"error": "../../x", "detail": "odd"}'""", "odd"),
    ],
)
def test_nothing_is_believed_of_a_process_that_was_taken_over(
    does: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\n{does}\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    code, detail, _ = outcome(b"", tmp_path)
    assert code == "recording_unreadable"
    assert says in detail


def test_a_process_that_hangs_is_ended_with_all_it_has_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\nsleep 100 &\necho $! > {tmp_path}/child\nwait\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    (tmp_path / "upload").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"took more than 0.5 s"):
        decode(tmp_path / "upload", tmp_path, wall_s=0.5)
    pid = int((tmp_path / "child").read_text())
    eventually(lambda: not Path(f"/proc/{pid}").exists() or "Z (" in Path(f"/proc/{pid}/status").read_text())


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    body = silent_hour()
    assert len(body) < 200_000
    source = tmp_path / "upload"
    source.write_bytes(body)
    script = (
        "from pathlib import Path\nfrom worker.recordings.decode import run\n"
        f"print(run(Path({str(source)!r}), Path('/dev/null'))['error'])\n"
        # Not ru_maxrss: a new program inherits that of the process that started it.
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    done = started(script)
    code, peak_kib = done.stdout.split()
    assert code == "recording_too_long"
    assert int(peak_kib) < 300 * 1024  # an hour of floats at 8 kHz takes 115 MB, at 24 kHz 345 MB
