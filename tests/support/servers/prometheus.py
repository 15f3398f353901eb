"""A real Prometheus for tests, on loopback, and what the dashboards and alerts of ``compose`` ask it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import yaml

from stentor.local.servers.ports import usable_port
from tests.support.stacks.stack import eventually

COMPOSE = Path(__file__).parents[3] / "compose"
CONFIG, ALERTS = COMPOSE / "prometheus" / "prometheus.yml", COMPOSE / "prometheus" / "alerts.yml"
ALERT_TESTS = COMPOSE / "prometheus" / "alerts_test.yml"
DASHBOARDS = sorted((COMPOSE / "grafana" / "dashboards").glob("*.json"))


def program(name: str) -> str:
    """Path of ``prometheus`` or ``promtool``; a missing one skips on a laptop and fails in CI."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI") == "true":
            raise RuntimeError(f"there is no {name}; .ci/run installs Debian's package prometheus")
        pytest.skip(f"there is no {name}; Debian's package prometheus has it")
    return found


def dashboard(path: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))


@dataclasses.dataclass(frozen=True)
class Asked:
    """One query of one panel."""

    dashboard: str
    panel: str
    expr: str


def asked(path: Path) -> list[Asked]:
    """All queries of a dashboard, with its variables as they are at first."""
    board = dashboard(path)
    values = {one["name"]: one["query"] for one in board["templating"]["list"] if one["type"] == "textbox"}
    return [
        Asked(board["title"], panel["title"], _filled(target["expr"], values))
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]


def _filled(expr: str, values: Mapping[str, str]) -> str:
    """A query as Grafana would send it, for a short time."""
    values = {**values, "__rate_interval": "20s", "__range": "1m", "__range_s": "60"}
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expr)


def alerts() -> list[dict[str, Any]]:
    """All alerting rules."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


class Prometheus:
    """A running one."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **params: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=params, timeout=20, trust_env=False)
        assert answer.status_code == 200, f"{params}: {answer.text}"
        return answer.json()["data"]

    def result(self, expr: str) -> list[Any]:
        """What a query answers now."""
        return cast("list[Any]", self.get("query", query=expr)["result"])

    def range(self, expr: str, *, over_s: float = 180.0) -> list[Any]:
        """What a query answers over a time that ends now, as Grafana asks for it."""
        now = time.time()
        asked = {"query": expr, "start": str(now - over_s), "end": str(now), "step": "1"}
        return cast("list[Any]", self.get("query_range", **asked)["result"])

    def ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/-/ready", trust_env=False).status_code == 200
        return False


def config(folder: Path, targets: Mapping[str, str]) -> Path:
    """The configuration of ``compose`` with these targets by job, each asked once a second."""
    made = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    made["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    made["rule_files"] = [str(ALERTS)]
    for job in made["scrape_configs"]:
        job.pop("file_sd_configs", None)
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(made), encoding="utf-8")
    return path


@contextlib.contextmanager
def prometheus(folder: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """A Prometheus that watches these targets by job, and itself; it is stopped at the end."""
    port = usable_port(0, "127.0.0.1")
    command = [
        program("prometheus"),
        f"--config.file={config(folder, {**targets, 'prometheus': f'127.0.0.1:{port}'})}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    made = Prometheus(port)
    try:
        eventually(made.ready)
        yield made
    finally:
        running.terminate()
        running.wait(30)
