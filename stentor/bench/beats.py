"""Records what the devices report during a bench."""

from __future__ import annotations

import contextlib
import threading
import time

from stentor.bench.observed import Beat
from stentor.client import Client
from stentor.devices.registry import DeviceState
from stentor.errors import StentorError

#: How often the devices are read, in seconds.
BEAT_S = 1.0
#: How long to wait for the devices to report that they are idle again, in seconds.
CALM_S = 3.0


class Beats:
    """Reads the reports of the devices once a second, and keeps each report once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)
        self._last: dict[str, Beat] = {}
        self.seen: list[Beat] = []

    def __enter__(self) -> Beats:
        self._read_devices()
        self._thread.start()
        # Work from before the bench must be in the first counts.
        self.calm_down()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def calm_down(self) -> None:
        """Wait until the devices report that they are idle: then their counters are complete."""
        deadline = time.monotonic() + CALM_S
        while time.monotonic() < deadline and any(beat.state == DeviceState.BUSY for beat in list(self._last.values())):
            time.sleep(BEAT_S / 4)

    def _run(self) -> None:
        while not self._ended.wait(BEAT_S):
            self._read_devices()
        self._read_devices()

    def _read_devices(self) -> None:
        with contextlib.suppress(StentorError):
            for beat in map(Beat.of, self._client.devices()):
                if self._last.get(beat.device) != beat:
                    self._last[beat.device] = beat
                    self.seen.append(beat)
