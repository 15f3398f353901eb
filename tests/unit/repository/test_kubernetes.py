"""What the overlays of compose/kubernetes render to holds together, and gives away no more than it says."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from scheduler.metrics import names as scheduler_metrics
from stentor.cli.main import cli
from stentor.settings import Settings
from tests.support.kubernetes import (
    FOREIGN,
    OVERLAYS,
    WORKLOADS,
    Pod,
    Resource,
    copied,
    environment,
    named,
    pods,
    refusals,
    render,
    values,
)


@pytest.fixture(scope="module")
def rendered() -> Iterator[dict[str, list[Resource]]]:
    """All overlays."""
    with copied() as folder:
        yield {overlay: render(folder, overlay) for overlay in OVERLAYS}


@pytest.fixture(params=OVERLAYS)
def resources(request: pytest.FixtureRequest, rendered: dict[str, list[Resource]]) -> list[Resource]:
    return rendered[request.param]


def of(resources: list[Resource], *kinds: str) -> list[Resource]:
    return [resource for resource in resources if resource["kind"] in kinds]


def one(resources: list[Resource], kind: str, name: str, namespace: str = "stentor") -> Resource:
    [found] = [
        r for r in of(resources, kind) if (r["metadata"]["name"], r["metadata"].get("namespace")) == (name, namespace)
    ]
    return found


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        labels.get(expression["key"]) in expression["values"] for expression in selector.get("matchExpressions", [])
    )


def labels_of(resource: Resource) -> dict[str, str]:
    return dict(resource["spec"]["template"]["metadata"]["labels"])


# --- what Kubernetes says to it


def test_a_slip_of_the_pen_is_refused(rendered: dict[str, list[Resource]]) -> None:
    """All is held against Kubernetes's own schemas by ``make lint-deploy``."""
    service = copy.deepcopy(one(rendered["cpu"], "Service", "api"))
    assert refusals([service]) == []
    service["spec"]["port"] = service["spec"].pop("ports")
    assert [text.partition(":")[0] for text in refusals([service])] == [
        "Service stentor/api, Kubernetes 1.34",
        "Service stentor/api, Kubernetes 1.37",
    ]


def test_names_are_there_once(resources: list[Resource]) -> None:
    names = [named(resource) for resource in resources]
    assert sorted(set(names)) == sorted(names)


def test_only_what_others_bring_has_no_schema(rendered: dict[str, list[Resource]]) -> None:
    assert sorted(named(one) for one in of(rendered["gpu"], *FOREIGN)) == [
        "PodMonitor stentor/stentor",
        "ScaledObject stentor/worker",
    ]
    assert of(rendered["cpu"], *FOREIGN) == []


# --- who may what


def test_no_pod_is_more_than_it_has_to_be(resources: list[Resource]) -> None:
    for pod in pods(resources, ours=False):
        spec, container, about = pod.spec, pod.container, pod.name
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] is True, about
        assert own["capabilities"]["drop"] == ["ALL"], about
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, about
        assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False), about
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys(), about
        assert "hostPath" not in str(spec), about
        assert container["resources"]["limits"]["memory"], about


def is_privileged(pod: Pod) -> bool:
    outer, inner = pod.spec["securityContext"], pod.container["securityContext"]
    plain = outer["runAsUser"] > 0 and outer["runAsNonRoot"] and inner["allowPrivilegeEscalation"] is False
    return not plain or "add" in inner["capabilities"]


def test_one_alone_has_a_privilege_and_it_can_be_taken_away(rendered: dict[str, list[Resource]]) -> None:
    privileged = {
        overlay: [
            (pod.name, pod.container["securityContext"]["capabilities"].get("add"))
            for pod in pods(rendered[overlay], ours=False)
            if is_privileged(pod)
        ]
        for overlay in OVERLAYS
    }
    assert privileged == {"cpu": [], "gpu": [("DaemonSet stentor-nodes/scheduler", ["SYS_ADMIN"])], "own-redis": []}
    guards = {
        overlay: {
            space["metadata"]["name"]: space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
            for space in of(rendered[overlay], "Namespace")
        }
        for overlay in OVERLAYS
    }
    assert guards == {
        "cpu": {"stentor": "restricted"},
        "gpu": {"stentor": "restricted", "stentor-nodes": "privileged"},
        "own-redis": {"stentor": "restricted", "stentor-nodes": "restricted"},
    }


def test_each_room_has_its_own_login_and_only_those_who_store_have_s3s(resources: list[Resource]) -> None:
    held = {
        pod.name: {
            re.sub(r"-[a-z0-9]{10}$", "", volume["secret"]["secretName"])
            for volume in pod.spec["volumes"]
            if "secret" in volume
        }
        for pod in pods(resources)
    }
    wanted = {
        "Deployment stentor/api": {"redis-api", "s3"},
        "Deployment stentor/io": {"redis-io", "s3"},
        "StatefulSet stentor/worker": {"redis-worker", "s3"},
        "Deployment stentor/scheduler": {"redis-scheduler"},
        "DaemonSet stentor-nodes/scheduler": {"redis-scheduler"},
        "Deployment stentor/admin": {"redis-admin", "s3"},
        "Job stentor/bucket": {"s3-admin"},
    }
    assert held == {name: secrets for name, secrets in wanted.items() if name in held}
    assert len(held) == 6


def test_nothing_comes_in_or_goes_out_but_what_is_named(resources: list[Resource]) -> None:
    policies = of(resources, "NetworkPolicy")
    for space in of(resources, "Namespace"):
        closed = [
            policy
            for policy in policies
            if policy["metadata"]["namespace"] == space["metadata"]["name"]
            and policy["spec"]["podSelector"] == {}
            and policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        ]
        assert len(closed) == 1
    world = [policy for policy in policies if "0.0.0.0/0" in str(policy)]
    assert [named(policy) for policy in world] == ["NetworkPolicy stentor/webhooks"]
    assert world[0]["spec"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/component": "io"}}
    [first, _] = world[0]["spec"]["egress"][0]["to"]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(first["ipBlock"]["except"])


def test_metrics_are_not_among_the_paths_of_the_ingress(rendered: dict[str, list[Resource]]) -> None:
    [ingress] = of(rendered["gpu"], "Ingress")
    paths = {path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]}
    assert paths == {"/v1", "/docs", "/openapi.json", "/healthz", "/readyz"}


# --- what leads where


def test_what_pods_mount_is_there(resources: list[Resource]) -> None:
    for pod in pods(resources, ours=False):
        space, about = pod.workload["metadata"]["namespace"], pod.name
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        claims = {claim["metadata"]["name"] for claim in pod.workload["spec"].get("volumeClaimTemplates", [])}
        assert {mount["name"] for mount in pod.container["volumeMounts"]} == volumes.keys() | claims, about
        for volume in volumes.values():
            if "secret" in volume:
                assert values(resources, "Secret", space, volume["secret"]["secretName"]), about
            if "configMap" in volume:
                assert values(resources, "ConfigMap", space, volume["configMap"]["name"]), about


def test_every_selector_finds_pods(resources: list[Resource]) -> None:
    made = {
        named(resource): (resource["metadata"]["namespace"], labels_of(resource))
        for resource in of(resources, *WORKLOADS)
    }
    for resource in of(resources, "Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"):
        spec = resource["spec"]
        selector = spec.get("podSelector", spec.get("selector"))
        selector = {"matchLabels": selector} if resource["kind"] == "Service" else selector
        found = [name for name, (_, labels) in made.items() if matches(selector, labels)]
        assert found, named(resource)
        if resource["kind"] in {"Service", "PodDisruptionBudget"}:
            assert found == [name for name in made if name.split(" ")[1] == named(resource).split(" ")[1]], named(
                resource
            )
    for resource in of(resources, "Deployment", "StatefulSet", "DaemonSet"):
        assert resource["spec"]["selector"]["matchLabels"] == labels_of(resource)


def test_ports_have_the_names_that_others_call(resources: list[Resource]) -> None:
    ports = {
        pod.workload["metadata"]["name"]: {
            port["name"]: port["containerPort"] for port in pod.container.get("ports", [])
        }
        for pod in pods(resources, ours=False)
    }
    assert (ports["api"], ports["scheduler"]) == ({"http": 8080}, {"metrics": 9464})
    for service in of(resources, "Service"):
        for port in service["spec"].get("ports", []):
            assert port["targetPort"] in ports[service["metadata"]["name"]]
    for monitor in of(resources, "PodMonitor"):
        assert {end["port"] for end in monitor["spec"]["podMetricsEndpoints"]} == {"http", "metrics"}


def test_images_have_a_version(resources: list[Resource]) -> None:
    images = {pod.container["image"] for pod in pods(resources, ours=False)}
    assert all(re.fullmatch(r"[a-z0-9./-]+:v?\d[\w.-]+", image) for image in images), images
    ours = {re.sub(r":.*", "", image).rpartition("stentor/")[2] for image in images if "stentor/" in image}
    assert ours <= {"api", "worker", "worker-gpu", "scheduler"}


# --- what is started


def test_the_settings_are_settings(resources: list[Resource], tmp_path: Path) -> None:
    for pod in pods(resources):
        environ = environment(resources, pod, tmp_path / pod.name)
        # Which authority is trusted is tried in test_redis_tls.
        assert (environ.pop("STENTOR_REDIS_TLS_CA", None) is not None) == ("redis-ca" in str(pod.spec["volumes"]))
        Settings.from_environ(environ)


def test_the_commands_are_commands(resources: list[Resource]) -> None:
    for pod in pods(resources):
        probes = [pod.container.get(name, {}) for name in ("readinessProbe", "livenessProbe")]
        asked = [probe["exec"]["command"] for probe in probes if "exec" in probe]
        for words in [pod.container["args"], *asked]:
            if words[0] == "stentor":
                parsed(words[1:])
            else:
                assert words in (["python", "-m", "stentor.storage.bucket"], ["sleep", "infinity"])


def parsed(words: list[str]) -> None:
    """Read a command line as ``stentor`` does, and start nothing."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        with click.Context(command) as context:
            found = command.get_command(context, words[0])
        assert found is not None, f"{words[0]} is no command"
        command, words = found, words[1:]
    command.make_context("stentor", list(words))


def test_devices_and_their_scheduler_name_the_node_and_nobody_else_does(rendered: dict[str, list[Resource]]) -> None:
    told = {
        pod.name: {
            variable["name"]: variable["valueFrom"]["fieldRef"]["fieldPath"]
            for variable in pod.container["env"]
            if "valueFrom" in variable
        }
        for pod in pods(rendered["gpu"])
    }
    host = {"STENTOR_HOST": "metadata.name"}
    both = host | {"STENTOR_NODE": "spec.nodeName"}
    assert told == {
        "Deployment stentor/admin": host,
        "Deployment stentor/api": host,
        "Deployment stentor/io": host,
        "Deployment stentor/scheduler": host,
        "StatefulSet stentor/worker": both,
        "DaemonSet stentor-nodes/scheduler": both,
    }


def test_a_gpu_has_one_device(rendered: dict[str, list[Resource]]) -> None:
    found = {
        overlay: [
            (
                pod.container["resources"]["limits"].get("nvidia.com/gpu"),
                pod.container["image"].rpartition("/")[2].partition(":")[0],
                pod.container["args"][-1],
            )
            for pod in pods(rendered[overlay])
            if pod.workload["kind"] == "StatefulSet"
        ]
        for overlay in OVERLAYS
    }
    assert found == {
        "cpu": [(None, "worker", "cpu")],
        "gpu": [("1", "worker-gpu", "cuda:0")],
        "own-redis": [("1", "worker-gpu", "cuda:0")],
    }


def test_stops_are_given_the_time_that_they_take(rendered: dict[str, list[Resource]]) -> None:
    graces = {pod.name: pod.spec["terminationGracePeriodSeconds"] for pod in pods(rendered["gpu"])}
    assert graces == {
        "Deployment stentor/admin": 5,
        "Deployment stentor/api": 25,
        "Deployment stentor/io": 30,
        "StatefulSet stentor/worker": 60,
        "Deployment stentor/scheduler": 20,
        "DaemonSet stentor-nodes/scheduler": 20,
    }


# --- scaling


def test_devices_come_by_seconds_of_work_and_leave_for_the_window(rendered: dict[str, list[Resource]]) -> None:
    scaled = one(rendered["gpu"], "ScaledObject", "worker")
    target = scaled["spec"]["scaleTargetRef"]
    worker = one(rendered["gpu"], target["kind"], target["name"])
    assert "replicas" not in worker["spec"], "each apply would say another number than KEDA"
    assert scaled["spec"]["minReplicaCount"] == 0
    backlog, day = (trigger["metadata"] for trigger in scaled["spec"]["triggers"])
    asked = set(re.findall(r"stentor_\w+", backlog["query"]))
    assert asked == {"stentor_backlog_seconds", "stentor_priority_held", "stentor_scheduler_leader"}
    assert asked <= {**scheduler_metrics.CLUSTER, **scheduler_metrics.HOST}.keys()
    settings = [
        data for data in (r["data"] for r in of(rendered["gpu"], "ConfigMap")) if "STENTOR_UNLOAD_WINDOWS" in data
    ]
    # Whichever scheduler leads, that of a node too, knows the window.
    assert [data["STENTOR_UNLOAD_WINDOWS"] for data in settings] == ["02:00-05:00 Asia/Shanghai"] * 2
    assert (day["timezone"], day["start"], day["end"]) == ("Asia/Shanghai", "50 4 * * *", "0 2 * * *")
