"""One whole stack for all end-to-end tests that leave it as they found it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from stentor.errors import ProgramMissing
from stentor.local.servers.programs import find_valkey, find_weed
from tests.support.servers.receivers import LOOPBACK
from tests.support.stacks.stack import Stack, stack


@pytest.fixture(scope="session")
def programs() -> None:
    """The servers that the embedded stack starts; missing ones skip on a laptop and fail in CI."""
    try:
        find_valkey(), find_weed()
    except ProgramMissing as exc:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(exc.detail)


@pytest.fixture(scope="session")
def up(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running `stentor up` with the real voice; webhooks may be sent to receivers on this machine."""
    with stack(tmp_path_factory.mktemp("up"), STENTOR_WEBHOOK_ALLOW=LOOPBACK) as running:
        yield running
