"""What watches Stentor is whole: rules, dashboards and the runbook name what there is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from api.http import metrics as api_metrics
from scheduler.metrics import names as scheduler_metrics
from tests.support.servers.prometheus import ALERT_TESTS, ALERTS, CONFIG, DASHBOARDS, alerts, asked, dashboard, program

RUNBOOK = Path(__file__).parents[3] / "docs" / "howto" / "runbook.md"
SEVERITIES = {"critical", "warning", "info"}


def told() -> set[str]:
    """Names of all series that the rooms tell."""
    names = {name: kind for name, (kind, *_) in scheduler_metrics.ALL.items()}
    names |= {
        name: scheduler_metrics.HISTOGRAM if name.endswith("_seconds") else scheduler_metrics.GAUGE
        for name in api_metrics.METRICS
    }
    found = {f"{name}_total" for name in ("stentor_http_requests",)}
    for name, kind in names.items():
        if kind == scheduler_metrics.HISTOGRAM:
            found |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
        else:
            found.add(f"{name}_total" if kind == scheduler_metrics.COUNTER else name)
    return found


def unknown(expr: str) -> set[str]:
    return set(re.findall(r"\bstentor_\w+", expr)) - told()


# --- alerts


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_is_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"Stentor[A-Z]\w+", rule["alert"])
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["for"]
    assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
    assert rule["annotations"]["runbook_url"] == f"docs/howto/runbook.md#{rule['alert'].lower()}"
    assert unknown(rule["expr"]) == set()


def test_each_alert_has_its_section_in_the_runbook_and_each_section_its_alert() -> None:
    sections = re.findall(r"^## (Stentor\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == list(dict.fromkeys(rule["alert"] for rule in alerts()))


def test_each_alert_is_tried_firing_and_not_firing() -> None:
    tests = ALERT_TESTS.read_text(encoding="utf-8")
    for name in {rule["alert"] for rule in alerts()}:
        found = re.findall(rf'alertname="{name}".*\n.*\n\s+exp_samples: (.*)', tests)
        assert "[]" in found, f"{name} is never silent"
        assert any("severity" in one for one in found), f"{name} never fires"


def test_rules_and_configuration_pass_promtool() -> None:
    for words in (("check", "rules", ALERTS), ("check", "config", CONFIG), ("test", "rules", ALERT_TESTS)):
        command = [program("promtool"), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# --- dashboards


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_provisioned(path: Path) -> None:
    board = dashboard(path)
    assert board["uid"] == path.stem, "links lead to the same page after each release"
    assert board["schemaVersion"] >= 39
    assert (
        board["templating"]["list"][0] | {"name": "datasource", "type": "datasource", "query": "prometheus"}
        == (board["templating"]["list"][0])
    )
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in (panel for panel in panels if panel["type"] != "row"):
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert sources == [{"type": "prometheus", "uid": "${datasource}"}] * len(sources)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_no_two_panels_lie_upon_each_other(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(path)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_ask_for_what_is_told(path: Path) -> None:
    assert [one for one in asked(path) if unknown(one.expr)] == []


def test_all_that_is_told_is_on_some_dashboard() -> None:
    shown = {name for path in DASHBOARDS for one in asked(path) for name in re.findall(r"\bstentor_\w+", one.expr)}
    stems = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in shown}
    assert set(scheduler_metrics.ALL) - stems - {"stentor_host_memory_total_bytes"} == set()
