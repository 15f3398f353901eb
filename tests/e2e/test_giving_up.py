"""A device whose model cannot be loaded gives up, says so, and works again when another process takes its place."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.poison.stentor_poison import BROKEN
from tests.support.speech.tones import ENVIRON, device_pid
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually
from worker.engines.piper.family import packaged_model

pytestmark = pytest.mark.faults


def test_who_takes_the_place_of_a_device_that_gave_up_hears_the_doorbell(programs: None, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    environ = {**ENVIRON, BROKEN: str(broken), "STENTOR_VOICES_DIR": str(_broken_voice(tmp_path / "voices"))}
    with rooms_apart(tmp_path / "near", tmp_path, **environ) as rooms:
        for name in ("api", "io", "device"):
            rooms.start(name)
        eventually(rooms.listens, 60)
        eventually(lambda: rooms.events("device_out"), 60)
        failed = _device(rooms)
        assert (failed["state"], failed["models"]) == ("failed", [])
        assert "cannot be loaded on cpu" in failed["error"]
        broken.unlink()
        os.kill(failed["pid"], signal.SIGKILL)
        eventually(lambda: device_pid(rooms), 60)
        # Nobody is there but this device, and nobody rings a second time.
        (job,) = rooms.settled(rooms.submit("Good morning."))
    assert job["state"] == "succeeded"


def _broken_voice(folder: Path) -> Path:
    """A folder with what takes the place of the packaged voice, and is none."""
    packaged = packaged_model()
    assert packaged is not None
    folder.mkdir()
    shutil.copy(packaged.with_suffix(".onnx.json"), folder / "joe.onnx.json")
    (folder / "joe.onnx").write_bytes(b"no model")
    return folder


def _device(rooms: Rooms) -> dict[str, Any]:
    (device,) = rooms.http("GET", "/v1/devices").json()["devices"]
    return dict(device)
