"""The whole stack of `compose/` in real containers, without a GPU: what it does, and what it cannot be made to do."""

from __future__ import annotations

import functools
import json

import pytest

from tests.containers.compose import ROOMS, SERVICES, ComposeStack
from tests.containers.engine import podman
from tests.support.speech.listening import listen
from tests.support.stacks.stack import eventually

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

ROWS = "id,text\n" + "".join(f"n{number},Platform {number} is closed today.\n" for number in range(30))


@pytest.mark.listening
def test_a_bulk_goes_through_nginx_and_its_audio_and_a_webhook_come_back(up: ComposeStack) -> None:
    made = up.http("POST", "/v1/bulks", files={"file": ("rows.csv", ROWS, "text/csv")}, data={"webhook_url": up.hook})
    bulk = made.json()
    assert made.status_code in (201, 202), made.text
    done = eventually(lambda: up.ended(bulk["id"]), 300)
    assert done is not None
    assert done["counts"]["succeeded"] == 30
    rows = f"/v1/jobs/job_{bulk['id'].removeprefix('bulk_')}"
    spoken = [up.http("GET", f"{rows}_{row}/audio", follow_redirects=True).content for row in range(1, 5)]
    heard = listen([(f"Platform {number} is closed today.", audio) for number, audio in enumerate(spoken)])
    assert heard.wer <= 0.25, str(heard)
    eventually(lambda: any(event["type"] == "bulk.completed" for event in up.webhooks()), 60)


def test_nobody_is_root_can_write_has_a_capability_or_may_get_one(up: ComposeStack) -> None:
    seen = {name: up.status(name) for name in SERVICES}
    assert {name for name, status in seen.items() if "0" in status["Uid"].split()} == set()
    powers = {status[kind] for status in seen.values() for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert powers == {"0000000000000000"}
    assert {status["NoNewPrivs"] for status in seen.values()} == {"1"}
    assert {name: up.inspect(name)["HostConfig"]["ReadonlyRootfs"] for name in SERVICES} == dict.fromkeys(
        SERVICES, True
    )


def test_only_nginx_is_published_and_only_io_workers_have_a_way_out(up: ComposeStack) -> None:
    published = {name for name in SERVICES if any((up.inspect(name)["NetworkSettings"]["Ports"] or {}).values())}
    assert published == {"nginx"}
    networks = {
        name: {net.rpartition("_")[2] for net in up.inspect(name)["NetworkSettings"]["Networks"]} for name in SERVICES
    }
    inside = {name for name in SERVICES if networks[name] == {"backend"}}
    assert inside == set(SERVICES) - {"nginx", "io-1", "io-2"}
    assert networks["nginx"] == {"edge", "backend"}
    assert networks["io-1"] == networks["io-2"] == {"backend", "egress"}
    assert json.loads(podman("network", "inspect", f"{up.project}_backend"))[0]["internal"] is True


def test_what_is_for_the_inside_is_not_found_outside(up: ComposeStack) -> None:
    assert up.http("GET", "/metrics").status_code == 404
    assert up.http("GET", "/stentor/?list-type=2").status_code == 403
    assert up.http("PUT", "/stentor/audio/x?X-Amz-Signature=0").status_code == 403
    assert up.http("GET", "/stentor/audio/x?X-Amz-Signature=0").status_code == 403


def test_no_secret_can_be_seen_from_outside_or_in_an_environment(up: ComposeStack) -> None:
    secrets = up.secret_words()
    assert len(secrets) > 10
    for name in SERVICES:
        shown = podman("inspect", up.container(name)) + up.run_in(name, "cat", "/proc/1/environ", "/proc/1/cmdline")
        assert [secret for secret in secrets if secret in shown] == []


def test_redis_refuses_each_role_what_it_must_not_do(up: ComposeStack) -> None:
    for name, user in (("api", "api"), ("worker-cpu", "worker"), ("io-1", "io"), ("scheduler", "scheduler")):
        assert up.redis_answer(name, user, "FLUSHALL").startswith("NoPermissionError")
        assert up.redis_answer(name, user, "CONFIG", "GET", "*").startswith("NoPermissionError")
        assert up.redis_answer(name, user, "HSET", "stentor:keys", "mine", "{}").startswith("NoPermissionError")
        assert up.redis_answer(name, user, "PING") == "True"


def test_health_tells_when_redis_is_away_and_back(up: ComposeStack) -> None:
    eventually(lambda: up.unhealthy() == set(), 120)
    podman("stop", up.container("redis"))
    eventually(lambda: set(ROOMS) <= up.unhealthy(), 180)
    podman("start", up.container("redis"))
    eventually(lambda: up.unhealthy() == set(), 180)


@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_process_comes_back_and_nothing_is_lost(up: ComposeStack, name: str) -> None:
    ids = up.submit(*[f"{name} ends in the middle of number {number}." for number in range(8)])
    before = up.inspect(name)["State"]["Pid"]
    up.kill(name)
    eventually(lambda: up.up_again(name, before), 60)
    states = [eventually(functools.partial(up.settled, job_id), 180) for job_id in ids]
    assert states == ["succeeded"] * 8
    eventually(lambda: up.unhealthy() == set(), 120)
