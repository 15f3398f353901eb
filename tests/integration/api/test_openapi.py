"""What `/openapi.json` promises, held against what the API does."""

from __future__ import annotations

import os
import re
import string
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.serving import WSGIRequestHandler, make_server

from api.app import create_app
from api.http.openapi import SPEAKABLE
from stentor.devices.registry import DeviceRegistry, DeviceState, DeviceStatus
from stentor.errors import RequestError
from stentor.settings import Settings
from stentor.text import clean
from tests.conftest import register_voice
from tests.support.speech.factories import TONE
from tests.support.work.device import Bench, speaking


class QuietHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture
def url(client: redis.Redis, settings: Settings, make: Callable[..., Bench]) -> Iterator[str]:
    """The API over HTTP, with a device that speaks tones and nobody who does io; so nobody should wait for that."""
    register_voice(client)
    now = time.time()
    device = DeviceStatus(id="testhost/cpu", pid=1, state=DeviceState.IDLE, models=(TONE,), started_at=now, seen_at=now)
    DeviceRegistry(client, lease_s=600).report(device)
    # The tone of the longest text would take longer to encode than schemathesis waits.
    app = create_app(
        settings.model_copy(update={"max_wait_s": 0.2, "bulk_wait_s": 0.1, "max_text_chars": 500, "lease_s": 600})
    )
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with speaking(make()):
        yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("examples", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_schemathesis_finds_no_failure_with_all_checks(url: str, api_key: str, tmp_path: Path, examples: int) -> None:
    """All but one: a canceled job can still be looked at, and `use_after_free` takes every DELETE for an end."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--no-color", "--seed=1"]
    command += ["--checks=all", "--exclude-checks=use_after_free", f"--max-examples={examples}"]
    command += ["-H", f"Authorization: Bearer {api_key}"]
    environ = {**os.environ, "NO_PROXY": "127.0.0.1"}
    run = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Stateful" in run.stdout


def test_the_description_names_the_voices_there_are(http: FlaskClient, client: redis.Redis) -> None:
    register_voice(client, "second")
    schemas = http.get("/openapi.json").get_json()["components"]["schemas"]
    assert schemas["JobRequest"]["properties"]["voice"]["anyOf"] == [
        {"type": "string", "enum": ["second", TONE]},
        {"type": "null"},
    ]


@given(text=st.text(alphabet=string.printable + "\x00\x07\x85\xadé你ก½۳\u200b\u200d\ue000\ud800🎉", max_size=6))
def test_the_described_pattern_accepts_what_cleaning_accepts(text: str) -> None:
    # Python's own re has no \p{L}; its \w is the same letters and numbers, and the underscore.
    pattern = SPEAKABLE.replace(r"(?:\p{L}|\p{N})", r"[^\W_]")
    surrogates = any("\ud800" <= char <= "\udfff" for char in text)
    try:
        clean(text, max_chars=10)
        accepted = True
    except RequestError:
        accepted = False
    assert accepted == (not surrogates and re.search(pattern, text) is not None)
