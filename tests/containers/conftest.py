"""The images that all tests of containers start from, built once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.containers import engine
from tests.containers.compose import ComposeStack, compose_stack


@pytest.fixture(scope="session")
def container_engine() -> None:
    """podman, buildah and the base image; without them tests are skipped on a laptop and fail in CI."""
    if (reason := engine.missing()) is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def images(container_engine: None) -> dict[str, str]:
    """Room -> its image, of this checkout: api, scheduler, and worker for CPUs."""
    began_s = time.monotonic()
    engine.build(*engine.AT_MOST_MB)
    print(f"images built in {time.monotonic() - began_s:.0f} s")
    return {name: engine.image(name) for name in engine.AT_MOST_MB}


@pytest.fixture(scope="session")
def up(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """The whole stack without a GPU, with TLS, open to other hosts, and with Prometheus and Flower."""
    began_s = time.monotonic()
    with compose_stack(tmp_path_factory.mktemp("compose")) as running:
        print(f"stack up in {time.monotonic() - began_s:.0f} s")
        yield running
