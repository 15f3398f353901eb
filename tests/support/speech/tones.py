"""Rooms whose device speaks tones: they cost little, and how long each has to be is known."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import soundfile

from stentor.client.types import JobJson
from tests.poison.stentor_poison import POISON, RATE_HZ
from tests.support.stacks.rooms import Rooms

POISON_DIR = str(Path(__file__).parents[2] / "poison")
#: What makes rooms speak tones.
ENVIRON = {
    "PYTHONPATH": os.pathsep.join([POISON_DIR, *filter(None, [os.environ.get("PYTHONPATH")])]),
    "STENTOR_DEFAULT_VOICE": POISON,
}


def device_pid(rooms: Rooms) -> int | None:
    """The process that is the device, once it has its model."""
    listed = rooms.http("GET", "/v1/devices").json()["devices"]
    pids = [int(device["pid"]) for device in listed if device["state"] in {"idle", "busy"} and device["model"]]
    return pids[0] if pids and psutil.pid_exists(pids[0]) else None


def assert_whole(rooms: Rooms, jobs: Iterable[JobJson]) -> None:
    """Each audio object is there, is the one that the job tells of, and can be decoded to its end."""
    jobs = list(jobs)
    limits = httpx.Limits(max_keepalive_connections=4)
    headers = {"Authorization": f"Bearer {rooms.key}"}
    with (
        httpx.Client(base_url=rooms.url, headers=headers, limits=limits, timeout=60, trust_env=False) as http,
        ThreadPoolExecutor(4) as pool,
    ):
        bodies = pool.map(lambda job: http.get(f"/v1/jobs/{job['id']}/audio?inline=1").content, jobs)
        for job, body in zip(jobs, bodies, strict=True):
            assert hashlib.sha256(body).hexdigest() == job["sha256"]
            samples, rate_hz = soundfile.read(io.BytesIO(body))
            assert (len(samples) / rate_hz, rate_hz) == (job["audio_s"], RATE_HZ)
