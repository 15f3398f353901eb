"""What the overrides and profiles of `compose/` add: HTTPS, other hosts, Prometheus, Flower.

Grafana is not among them: there is no stand-in for its image.
"""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.containers.compose import ComposeStack
from tests.containers.engine import podman
from tests.containers.second_host import HOST, second_host
from tests.support.stacks.stack import eventually

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]


def test_https_is_spoken_at_nginx_and_a_text_goes_through_it(up: ComposeStack) -> None:
    made = up.https("POST", "/v1/jobs", json={"text": "Nobody on the way has read this."})
    assert made.status_code == 202, made.text
    job = up.https("GET", f"/v1/jobs/{made.json()['id']}?wait=60").json()
    assert job["state"] == "succeeded"
    audio = up.https("GET", f"/v1/jobs/{job['id']}/audio", follow_redirects=True)
    assert audio.content[:4] == b"RIFF"
    assert up.https("GET", "/healthz").headers["Strict-Transport-Security"] == "max-age=31536000"


def test_https_is_not_for_who_does_not_trust_the_certificate_and_speaks_http_2(up: ComposeStack) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{up.https_url}/healthz", trust_env=False)
    up.trusts.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", urlsplit(up.https_url).port or 0), 10) as plain,
        up.trusts.wrap_socket(plain, server_hostname="127.0.0.1") as spoken,
    ):
        assert spoken.selected_alpn_protocol() == "h2"
        assert (spoken.version() or "") >= "TLSv1.2"
    up.trusts.set_alpn_protocols(["http/1.1"])


def test_with_an_s3_elsewhere_whoever_needs_it_has_a_way_out_and_nobody_else(up: ComposeStack) -> None:
    def ways_out(config: Any) -> set[str]:
        return {name for name, service in config["services"].items() if "egress" in service.get("networks", [])}

    # Prometheus for the sake of other hosts, by compose.watch.yaml.
    before = {"io-1", "io-2", "prometheus", "receiver"}
    assert ways_out(up.config()) == before
    needs_it = {"api", "worker-gpu-0", "worker-gpu-1", "admin"}
    assert ways_out(up.config("compose.s3.yaml")) == before | needs_it
    assert all("backend" in up.config("compose.s3.yaml")["services"][name]["networks"] for name in needs_it)


def test_another_host_joins_with_one_command_and_speaks_what_waits_on_the_first(
    up: ComposeStack, tmp_path: Path
) -> None:
    with second_host(up, tmp_path):
        eventually(lambda: states(up).get(f"{HOST}/cpu") == "idle", 120)
        podman("stop", up.container("worker-cpu"))
        try:
            ids = up.submit(*[f"Line {number} is spoken elsewhere." for number in range(8)])
            assert {eventually(lambda at=job_id: up.settled(at), 120) for job_id in ids} == {"succeeded"}  # type: ignore[misc]
            assert {up.http("GET", f"/v1/jobs/{job_id}").json()["device"] for job_id in ids} == {f"{HOST}/cpu"}
            audio = up.http("GET", f"/v1/jobs/{ids[0]}/audio", follow_redirects=True)
            assert audio.content[:4] == b"RIFF"
        finally:
            podman("start", up.container("worker-cpu"))
        eventually(lambda: states(up).get("main/cpu") == "idle", 120)


def states(up: ComposeStack) -> dict[str, str]:
    return {device["id"]: device["state"] for device in up.http("GET", "/v1/devices").json()["devices"]}


@pytest.mark.parametrize("port", [6380, 8334])
def test_other_hosts_are_let_in_with_tls_alone(up: ComposeStack, port: int) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), socket.create_connection(("127.0.0.1", port), 10) as plain:
        ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.sendall(b"PING\r\n")
        assert b"PONG" not in plain.recv(200)


def test_prometheus_finds_every_room_that_tells_and_its_rules_load(up: ComposeStack) -> None:
    def asked(path: str) -> dict[str, list[dict[str, object]]]:
        answer = up.run_in("nginx", "curl", "-sf", f"http://prometheus:9090/api/v1/{path}")
        data: dict[str, list[dict[str, object]]] = json.loads(answer)["data"]
        return data

    def health() -> dict[object, object]:
        return {target["scrapePool"]: target["health"] for target in asked("targets")["activeTargets"]}

    wanted = dict.fromkeys(("prometheus", "stentor-scheduler", "stentor-api"), "up")
    eventually(lambda: health() == wanted, 60)
    assert len(asked("rules")["groups"]) > 0


def test_flower_shows_the_workers_to_who_has_its_password(up: ComposeStack) -> None:
    assert up.http("GET", "/flower/api/workers").status_code == 401

    def workers() -> set[str]:
        answer = httpx.get(
            f"{up.url}/flower/api/workers?refresh=1", auth=up.flower_login(), trust_env=False, timeout=60
        )
        return set(answer.json()) if answer.is_success else set()

    eventually(lambda: len(workers()) >= 3, 90)
