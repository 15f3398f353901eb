"""The overlays of ``compose/kubernetes``, rendered by a real kustomize; as a program it validates them."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "compose" / "kubernetes"
OVERLAYS = ("cpu", "gpu", "own-redis")
#: The oldest release of Kubernetes that is still looked after, and the newest that there are schemas of.
VERSIONS = ("1.34", "1.37")
#: Kinds that make pods of ours.
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
#: Kinds that others bring; what of them counts is looked at in a test.
FOREIGN = frozenset({"ScaledObject", "PodMonitor", "PrometheusRule"})
#: What stands in for secrets. The files are those of compose/make_secrets.py.
SECRETS = {
    **{
        f"redis_url_{role}": f"redis://{role}:kept@redis:6379/0"
        for role in ("api", "io", "worker", "scheduler", "admin")
    },
    **dict.fromkeys(("s3_access_key", "s3_secret_key", "s3_admin_access_key", "s3_admin_secret_key"), "kept"),
    **dict.fromkeys(("users.acl", "s3_identities.json", "s3_security.toml"), "kept"),
}
#: What the comments of overlays/gpu offer.
_OWN_REDIS = """\
resources: [../gpu]
components: [../../components/redis-tls, ../../components/no-clocks]
"""

Resource = dict[str, Any]


class KubectlMissing(Exception):
    """There is no kubectl that could render."""


def find_kubectl() -> str:
    """The ``kubectl`` on the PATH, or the one that ``.ci/get_kubectl.py`` has put beside this Python.

    Raises:
        KubectlMissing: there is none.
    """
    beside = Path(sys.executable).parent / "kubectl"
    found = shutil.which("kubectl") or (str(beside) if os.access(beside, os.X_OK) else None)
    if found is None:
        raise KubectlMissing("no kubectl is on the PATH: python .ci/get_kubectl.py .venv/bin/kubectl")
    return found


@contextlib.contextmanager
def copied(**secrets: str) -> Iterator[Path]:
    """A copy of the folder with all that people put there: secrets, an authority, an overlay of their own.

    A missing kubectl skips on a laptop and fails in CI.
    """
    try:
        find_kubectl()
    except KubectlMissing as exc:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(exc))
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / "kubernetes"
        shutil.copytree(FOLDER, made, ignore=shutil.ignore_patterns("secrets"))
        for overlay in ("cpu", "gpu"):
            (made / "overlays" / overlay / "secrets").mkdir()
            for secret, text in {**SECRETS, **secrets}.items():
                (made / "overlays" / overlay / "secrets" / secret).write_text(text)
        (made / "components" / "redis-tls" / "ca.pem").write_text("an authority")
        (made / "overlays" / "own-redis").mkdir()
        (made / "overlays" / "own-redis" / "kustomization.yaml").write_text(_OWN_REDIS)
        yield made


def render(folder: Path, overlay: str) -> list[Resource]:
    """All resources of an overlay."""
    command = [find_kubectl(), "kustomize", str(folder / "overlays" / overlay)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60)
    return list(yaml.safe_load_all(done.stdout))


def named(resource: Resource) -> str:
    """The resource for people: ``Deployment stentor/api``."""
    about = resource["metadata"]
    return f"{resource['kind']} {about.get('namespace', '')}/{about['name']}"


@dataclasses.dataclass(frozen=True)
class Pod:
    """A workload, its pod's specification, and its one container."""

    workload: Resource
    spec: dict[str, Any]
    container: dict[str, Any]

    @property
    def name(self) -> str:
        return named(self.workload)


def pods(resources: list[Resource], *, ours: bool = True) -> list[Pod]:
    """What makes pods; with ``ours=False`` those of neighbours, too."""
    found = []
    for resource in resources:
        if resource["kind"] in WORKLOADS:
            spec = resource["spec"]["template"]["spec"]
            [container] = spec["containers"]
            found.append(Pod(resource, spec, container))
    return [pod for pod in found if pod.container["name"] == "room" or not ours]


def values(resources: list[Resource], kind: str, namespace: str, name: str) -> dict[str, str]:
    """What a ConfigMap or Secret holds."""
    wanted = (kind, namespace, name)
    [found] = [
        resource["data"]
        for resource in resources
        if (resource["kind"], resource["metadata"].get("namespace"), resource["metadata"]["name"]) == wanted
    ]
    return {key: base64.b64decode(raw).decode() if kind == "Secret" else raw for key, raw in found.items()}


def environment(resources: list[Resource], pod: Pod, folder: Path) -> dict[str, str]:
    """The variables of a pod's container, with what it mounts in ``folder``."""
    space = pod.workload["metadata"]["namespace"]
    fields = {"metadata.name": f"{pod.workload['metadata']['name']}-0", "spec.nodeName": "node-1"}
    found: dict[str, str] = {}
    for source in pod.container["envFrom"]:
        found |= values(resources, "ConfigMap", space, source["configMapRef"]["name"])
    for variable in pod.container["env"]:
        told = variable.get("value")
        found[variable["name"]] = fields[variable["valueFrom"]["fieldRef"]["fieldPath"]] if told is None else told
    places = {}
    volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
    for mount in pod.container["volumeMounts"]:
        places[mount["mountPath"]] = place = folder / mount["mountPath"].lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        for key, text in _mounted(resources, space, volumes[mount["name"]]).items():
            (place / key).write_text(text)
    for name, value in found.items():
        inside = [path for path in places if value == path or value.startswith(f"{path}/")]
        found[name] = str(places[inside[0]]) + value.removeprefix(inside[0]) if inside else value
    return found


def _mounted(resources: list[Resource], space: str, volume: dict[str, Any]) -> dict[str, str]:
    if "secret" in volume:
        return values(resources, "Secret", space, volume["secret"]["secretName"])
    if "configMap" in volume:
        return values(resources, "ConfigMap", space, volume["configMap"]["name"])
    return {}


def refusals(resources: list[Resource]) -> list[str]:
    """What Kubernetes's own schemas do not allow, unknown fields included."""
    found = []
    for version in VERSIONS:
        for resource in resources:
            if resource["kind"] not in FOREIGN:
                try:
                    kubernetes_validate.validate(resource, version, strict=True)
                except kubernetes_validate.ValidationError as exc:
                    found.append(f"{named(resource)}, Kubernetes {version}: {exc.message}")
    return found


def main() -> None:
    """Render all, validate all, say what was done; ends with 1 if anything is refused."""
    wrong = []
    with copied() as folder:
        for overlay in OVERLAYS:
            resources = render(folder, overlay)
            wrong += refusals(resources)
            print(f"overlay {overlay}: {len(resources)} resources, held against Kubernetes {' and '.join(VERSIONS)}")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
