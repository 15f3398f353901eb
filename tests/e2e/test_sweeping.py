"""Sweeps in rooms that run apart: the leader asks, an io worker puts right, a device speaks."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from ulid import ULID

from stentor.jobs.lanes import Lane
from stentor.redis import keys
from stentor.redis.client import connect, text_map
from tests.support.stacks.rooms import rooms_apart
from tests.support.stacks.stack import eventually

pytestmark = pytest.mark.faults


def test_a_job_that_nobody_holds_any_more_is_spoken_in_the_end(tmp_path: Path, programs: None) -> None:
    with rooms_apart(tmp_path / "near", tmp_path) as rooms, contextlib.closing(connect(rooms.settings)) as client:
        for name in ("api", "device", "io"):
            rooms.start(name)
        eventually(rooms.ready, 60)
        spoken = rooms.settled(rooms.submit("Your parcel arrives."))[0]

        # Claimed a long time ago, and acknowledged by somebody's hand since.
        text = "The train to the airport leaves from platform nine at a quarter past seven."
        fields = text_map(client.hgetall(keys.job(spoken["id"])))
        lane = Lane.of(model=fields["model"], priority="standard", text_chars=len(text)).key
        kept = ("owner", "voice", "model", "speech", "priority", "metadata", "created_at")
        job_id = f"job_{ULID.from_timestamp(time.time() - 3600)}".lower()
        stray = {"id": job_id, "text": text, "lane": lane, "entry": "1000-0", "state": "running", "attempts": "1"}
        made = {name: fields[name] for name in kept} | stray
        client.hset(keys.job(job_id), items=[part for pair in made.items() for part in pair])
        client.zadd(keys.jobs("acme", keys.OPEN), {job_id: 0})
        client.xgroup_create(lane, keys.GROUP, "0", mkstream=True)
        client.xadd(lane, {"job": job_id}, id="1000-0")
        client.xreadgroup(keys.GROUP, "gone/cpu", {lane: ">"})
        client.xack(lane, keys.GROUP, "1000-0")

        # A scheduler that begins to lead asks for a sweep at its first tick.
        rooms.start("scheduler")
        eventually(lambda: client.hget(keys.job(job_id), "state") == "succeeded", 60)
        job = rooms.settled([job_id])[0]
        assert (job["state"], job["attempts"]) == ("succeeded", 2)
        put_back = [event["job_ids"] for event in rooms.events("strays_put_back", "io")]
        assert put_back == [[job_id]]
        assert client.xlen(lane) == 0
