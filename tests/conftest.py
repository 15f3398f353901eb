"""Real neighbours for the tests: one Valkey and one S3 server for each process that runs tests."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import boto3.session
import pytest
import redis
from flask.testing import FlaskClient

from api.app import create_app
from stentor.errors import ProgramMissing
from stentor.owners.access import KeyStore
from stentor.redis import keys
from stentor.redis.client import connect
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from stentor.voices.voice import Voice
from tests.support import reporting
from tests.support.servers.neighbours import RunningNeighbours, neighbours
from tests.support.speech.factories import TONE

#: The owner whose key the tests' client sends.
OWNER = "acme"

#: Tells a figure that the run's summary shows, with the name of the test.
Measured = Callable[[str], None]


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Tell a figure in a sentence; it is shown whether the test passes or not, and whatever process runs it."""
    return lambda sentence: record_property("measured", sentence)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was measured and where the time went."""
    reporting.print_summary(terminalreporter)


@pytest.fixture(scope="session", autouse=True)
def one_boto3_session() -> Iterator[None]:
    """One session for all clients of S3: each new one parses megabytes of JSON, for a quarter of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boto3.session, "Session", functools.cache(boto3.session.Session))
        yield


@pytest.fixture(scope="session")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNeighbours]:
    """A running Valkey and S3 server; missing programs skip on a laptop and fail in CI."""
    try:
        with neighbours(tmp_path_factory.mktemp("near")) as running:
            yield running
    except ProgramMissing as exc:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(exc.detail)


@pytest.fixture(scope="session")
def settings(near: RunningNeighbours) -> Settings:
    """Settings that point to the neighbours."""
    made = Settings.from_environ({**near.environ, "STENTOR_HOST": "testhost", "STENTOR_DEFAULT_VOICE": TONE})
    Storage(made).ensure_bucket()
    return made


@pytest.fixture
def client(settings: Settings) -> Iterator[redis.Redis]:
    """A client of an empty Redis."""
    made = connect(settings)
    made.flushall()
    yield made
    made.close()


@pytest.fixture
def storage(settings: Settings) -> Storage:
    """The bucket; objects of other tests may be in it."""
    return Storage(settings)


@pytest.fixture
def api_key(client: redis.Redis) -> str:
    """A key of ``OWNER``."""
    return KeyStore(client).create(owner=OWNER, name="tests")


@pytest.fixture
def http(client: redis.Redis, settings: Settings, api_key: str) -> Iterator[FlaskClient]:
    """A client of the API that sends ``OWNER``'s key; one voice is registered."""
    register_voice(client)
    app = create_app(settings)
    app.testing = True
    with app.test_client() as made:
        made.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {api_key}"
        yield made


def register_voice(client: redis.Redis, name: str = TONE) -> None:
    """Do what a worker does when it starts."""
    voice = Voice(name=name, model=name, engine="tone", languages=("en_US",), sample_rate_hz=16_000)
    client.hset(keys.VOICES, name, voice.to_json())
