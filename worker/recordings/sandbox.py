"""Starting the process that decodes, and taking from it nothing but what was agreed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stentor import errors, log
from stentor.errors import RecordingError, RecordingUnreadable
from stentor.voices.recording import MAX_SPEECH_S, SAMPLE_RATE_HZ
from worker.recordings.decode import WALL_S

_log = log.get(__name__)

#: What of its answer is read, in bytes; it has a few hundred.
ANSWER_BYTES = 64 * 1024
#: Its whole environment: no settings, no secrets, and one thread for a matrix library that would start many.
ENVIRON: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
#: The errors that it may name.
_NAMED: Mapping[str, type[RecordingError]] = {
    kind.code: kind
    for kind in (
        errors.RecordingUnreadable,
        errors.RecordingUnusable,
        errors.RecordingTooShort,
        errors.RecordingTooLong,
    )
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoded:
    """The audio of a voice, and what the process said of the recording."""

    path: Path
    figures: Mapping[str, Any]


def decode(source: Path, folder: Path, *, wall_s: float = WALL_S) -> Decoded:
    """The recording at ``source`` as the audio of a voice, in ``folder``.

    Raises:
        RecordingError: it cannot be a voice, or decoding it takes too much.
    """
    target, said = folder / "audio.wav", folder / "said"
    code = _run(source, target, said, wall_s)
    if code != 0:
        _log.warning("decoding_ended", exit_code=code, said=_tail(said.with_suffix(".err")))
        raise RecordingUnreadable(f"decoding the recording {_exit_reason(code, wall_s)}")
    answer = _answer(said)
    if "error" in answer:
        raise _NAMED.get(str(answer["error"]), RecordingUnreadable)(str(answer.get("detail", ""))[:500])
    _check_audio(target)
    return Decoded(path=target, figures=answer)


def _run(source: Path, target: Path, said: Path, wall_s: float) -> int | None:
    """The exit code of the process; None if it did not end in time."""
    # -P: what lies in the working directory is not imported.
    command = [sys.executable, "-P", "-m", "worker.recordings.decode", str(source), str(target)]
    with said.open("wb") as out, said.with_suffix(".err").open("wb") as err:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=dict(ENVIRON),
            cwd=source.parent,
            start_new_session=True,
        )
        try:
            return process.wait(wall_s)
        except subprocess.TimeoutExpired:
            # Whatever it may have started goes with it. Before it is waited for, for then its number may be another's.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None


def _exit_reason(code: int | None, wall_s: float) -> str:
    if code is None:
        return f"took more than {wall_s:g} s"
    if code == -signal.SIGXCPU:
        return "took more processor time than it may"
    return f"ended with signal {-code}" if code < 0 else f"ended with exit code {code}"


def _answer(said: Path) -> dict[str, Any]:
    with said.open("rb") as file:
        raw = file.read(ANSWER_BYTES)
    try:
        answer = json.loads(raw)
    except ValueError as exc:
        raise RecordingUnreadable("decoding the recording gave no answer that can be read") from exc
    if not isinstance(answer, dict):
        raise RecordingUnreadable("decoding the recording gave no answer that can be read")
    return answer


def _check_audio(path: Path) -> None:
    try:
        with wave.open(str(path), "rb") as file:
            seen = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            frames = file.getnframes()
    except (wave.Error, EOFError, OSError) as exc:
        raise RecordingUnreadable(f"decoding the recording gave no audio: {exc}") from exc
    if seen != (1, 2, SAMPLE_RATE_HZ) or not 0 < frames <= MAX_SPEECH_S * SAMPLE_RATE_HZ:
        raise RecordingUnreadable(f"decoding the recording gave {frames} frames of {seen}, which was not agreed")


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes()[-500:].decode("utf-8", "replace")
    return ""
