"""The process that decodes one recording: ``python -m worker.recordings.decode IN OUT``.

It reads a file that somebody else made, with libraries in C. So it is a process of its own, which limits itself before
it looks at the file, has no secrets in its environment, and writes what it found as one line of JSON: the figures of a
recording whose audio is in OUT, or ``{"error": code, "detail": sentence}``.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

#: Address space, in bytes: numpy and scipy map 0.4 GB, ten minutes of samples at 24 kHz take 0.06 GB, several times.
MEMORY_BYTES = 1536 * 2**20
#: Processor time and wall time, in seconds. A minute of speech takes 1 s, ten minutes of 192 kHz in 50 MB take 5 s.
CPU_S, WALL_S = 20, 30
#: What it may write, in bytes: ten times what a minute of audio takes.
FILE_BYTES = 32 * 2**20
OPEN_FILES = 64


def limit() -> None:
    """Let the kernel end this process when it takes too much. Nothing of it can be undone from within."""
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    # A limit of its own, in case the process that started it is gone.
    signal.alarm(WALL_S + 5)


def run(source: Path, target: Path) -> dict[str, Any]:
    """What was found, as it is written."""
    # After the limits: importing maps memory and opens files as well.
    from stentor.errors import RecordingError  # noqa: PLC0415
    from worker.recordings.processing import process  # noqa: PLC0415

    try:
        body, figures = process(source)
    except RecordingError as exc:
        return {"error": exc.code, "detail": exc.detail}
    target.write_bytes(body)
    return figures


if __name__ == "__main__":
    limit()
    print(json.dumps(run(Path(sys.argv[1]), Path(sys.argv[2]))))  # noqa: T201 - this is how it answers
