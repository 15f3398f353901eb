"""Recordings to upload: what people send, and what nobody should."""

from __future__ import annotations

import base64
import io
import json
import threading
from pathlib import Path
from typing import Self

import numpy as np
import redis
import soundfile
from numpy.typing import NDArray

from stentor.doorbell import CHECK_RECORDING, IO_QUEUE, REMOVE_RECORDINGS
from stentor.redis import keys
from stentor.storage.s3 import Storage
from tests.support.stacks.stack import eventually
from worker.recordings.check import check
from worker.recordings.sweep import sweep

CONSENT = "I, Joe Example, agree that this service speaks with my voice."


def speech(seconds: float, rate_hz: int = 24_000, *, channels: int = 1, level: float = 0.3) -> NDArray[np.float32]:
    """Something like speech: syllables of a buzz with pauses between, over faint noise; shape (frames, channels)."""
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    syllables = np.clip(np.sin(2 * np.pi * 2 * times_s) + 0.7, 0, 1)
    buzz = sum(np.sin(2 * np.pi * 130 * n * times_s + n) / n for n in range(1, 8))
    noise = np.random.default_rng(7).normal(0, 0.0005, len(times_s))
    mono = (level * syllables * buzz / 1.8 + noise).astype(np.float32)
    return np.repeat(mono[:, None], channels, axis=1)


def audio_file(
    samples: NDArray[np.float32], rate_hz: int = 24_000, form: str = "WAV", subtype: str | None = None
) -> bytes:
    """The samples as a file."""
    target = io.BytesIO()
    soundfile.write(target, samples, rate_hz, format=form, subtype=subtype)
    return target.getvalue()


def form(name: str = "ann", body: bytes = b"", filename: str = "ann.wav", **fields: str) -> dict[str, object]:
    """The fields of an upload; a field that is None is left out."""
    made: dict[str, object] = {
        "name": name,
        "audio": (io.BytesIO(body or audio_file(speech(3))), filename),
        "consent": CONSENT,
        "language": "en",
        **fields,
    }
    return {key: value for key, value in made.items() if value is not None}


class IoHand:
    """An io worker for the tasks of recordings, in a thread of the test: it hears what the API really sends."""

    def __init__(self, client: redis.Redis, storage: Storage) -> None:
        self._client = client
        self._storage = storage
        self._stop = threading.Event()
        self._idle = False
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_until_idle(self) -> None:
        """Return when all that was sent has been done."""
        eventually(lambda: self._idle and not self._client.llen(keys.queue(IO_QUEUE)))

    def _work(self) -> None:
        while not self._stop.is_set():
            heard = self._client.brpop([keys.queue(IO_QUEUE)], timeout=0.1)
            if heard:
                message = json.loads(heard[1])
                _, arguments, _ = json.loads(base64.b64decode(message["body"]))
                self._do(message["headers"]["task"], arguments)
            self._idle = not heard

    def _do(self, task: str, arguments: dict[str, str]) -> None:
        if task == CHECK_RECORDING:
            check(self._client, self._storage, **arguments)
        elif task == REMOVE_RECORDINGS:
            sweep(self._client, self._storage)
        else:
            raise AssertionError(f"nobody here does {task}")


def leftovers(folder: Path) -> list[str]:
    """What decoding has left behind in the folder for temporary files."""
    return [path.name for path in folder.glob("stentor-recording-*")]
