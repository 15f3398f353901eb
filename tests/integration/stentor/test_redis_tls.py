"""TLS to Redis: whom we trust is told by a setting, and nobody else is spoken to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError

from stentor.doorbell import Doorbell, create_celery
from stentor.errors import RedisUnavailable, RedisUntrusted, SettingInvalid
from stentor.redis.client import connect, redis_errors
from stentor.settings import Settings
from tests.support.servers.tls import MASTER, PASSWORD, Authority, redis_with_tls
from tests.support.stacks.rooms import rooms_apart
from tests.support.stacks.stack import eventually


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def ca(folder: Path) -> Authority:
    return Authority(folder, "ours")


@pytest.fixture(scope="module")
def url(folder: Path, ca: Authority) -> Iterator[str]:
    with redis_with_tls(folder / "server", ca) as port:
        yield f"rediss://:{PASSWORD}@localhost:{port}/0"


def settings(url: str, ca: Authority | None = None) -> Settings:
    return Settings.from_environ({"STENTOR_REDIS_URL": url, **({"STENTOR_REDIS_TLS_CA": str(ca.file)} if ca else {})})


def ping(made: Settings) -> bool:
    with contextlib.closing(connect(made, retries=0)) as client, redis_errors():
        return bool(client.ping())


def test_a_server_whose_authority_is_named_is_trusted_by_both_ways_to_it(url: str, ca: Authority) -> None:
    made = settings(url, ca)
    assert ping(made)
    with contextlib.closing(connect(made)) as client:
        Doorbell(create_celery(made), client).call()
        assert client.llen("stentor:celery:synthesis") == 1
        client.flushall()


@pytest.mark.parametrize("named", ["another", None])
def test_one_that_another_authority_has_signed_is_refused_by_name(url: str, folder: Path, named: str | None) -> None:
    made = settings(url, Authority(folder, named) if named else None)
    with pytest.raises(
        RedisUntrusted, match=r"certificate of Redis is not trusted: .*\. Set STENTOR_REDIS_TLS_CA"
    ) as refused:
        ping(made)
    assert refused.value.code == "redis_untrusted"
    with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
        # Not from the pool, which kombu keeps by URL.
        create_celery(made).connection_for_write().ensure_connection(max_retries=1)


def test_one_that_has_another_name_is_refused(folder: Path, ca: Authority) -> None:
    with (
        redis_with_tls(folder / "elsewhere", ca, hosts=["redis.example"]) as port,
        pytest.raises(RedisUntrusted, match="Hostname mismatch"),
    ):
        ping(settings(f"rediss://:{PASSWORD}@localhost:{port}/0", ca))


def test_sentinels_and_their_master_are_asked_with_tls(url: str, folder: Path, ca: Authority) -> None:
    master = int(url.rpartition(":")[2].partition("/")[0])
    with redis_with_tls(folder / "sentinel", ca, sentinel_of=master) as port:
        sentinels = f"rediss+sentinel://:{PASSWORD}@localhost:{port}/{MASTER}/0?sentinel_password={PASSWORD}"
        assert ping(settings(sentinels, ca))
        create_celery(settings(sentinels, ca)).connection_for_write().ensure_connection(max_retries=1)
        with pytest.raises(RedisUnavailable):
            ping(settings(sentinels, Authority(folder, "stranger")))


def test_a_server_with_tls_is_not_spoken_to_without(url: str) -> None:
    with pytest.raises(RedisUnavailable):
        ping(settings(url.replace("rediss", "redis", 1)))


@pytest.mark.parametrize(
    ("url", "text", "says"),
    [
        ("redis://h", None, "STENTOR_REDIS_TLS_CA is .*STENTOR_REDIS_URL does not use TLS"),
        ("rediss://h", "no certificate", "STENTOR_REDIS_TLS_CA is .*cannot be read as certificates"),
        ("rediss://h", "", "STENTOR_REDIS_TLS_CA is .*cannot be read as certificates"),
    ],
)
def test_an_authority_that_cannot_be_right_stops_the_start(
    url: str, text: str | None, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingInvalid, match=says):
        Settings.from_environ({"STENTOR_REDIS_URL": url, "STENTOR_REDIS_TLS_CA": str(file)})


def test_a_job_goes_through_all_rooms_by_tls_alone(url: str, ca: Authority, tmp_path: Path) -> None:
    environ = {
        "STENTOR_REDIS_URL": url,
        "STENTOR_REDIS_TLS_CA": str(ca.file),
        "STENTOR_SIMULATED": "l4*20",
        "STENTOR_DEFAULT_VOICE": "simulated-l4",
    }
    for name in ("near", "logs"):
        (tmp_path / name).mkdir()
    with rooms_apart(tmp_path / "near", tmp_path / "logs", **environ) as rooms:
        for name in ("api", "device", "io", "scheduler"):
            rooms.start(name)
        eventually(rooms.ready, 60)
        eventually(lambda: rooms.http("GET", "/v1/voices").json()["voices"], 60)
        [job] = rooms.settled(rooms.submit("Lane four is open."))
        assert (job["state"], job["attempts"]) == ("succeeded", 1)
