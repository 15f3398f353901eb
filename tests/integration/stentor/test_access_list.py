"""The users of Redis that `compose/` ships: what each may do, and what it may not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
import redis

from stentor.jobs.lanes import Lane
from stentor.jobs.store import Backlog
from stentor.redis import keys
from tests.support.servers.access_list import Server, make_secrets, shipped_valkey

ROLES = ("api", "worker", "io", "scheduler")
#: What nobody but the operators may do with the database, the server, or code of their own.
DANGEROUS = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "dir", "/tmp"),
    ("KEYS", "*"),
    ("DEBUG", "SLEEP", "0"),
    ("SHUTDOWN",),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "api", "allkeys"),
    ("MODULE", "LIST"),
    ("REPLICAOF", "192.0.2.1", "6379"),
    ("SLAVEOF", "192.0.2.1", "6379"),
    ("EVAL", "return 1", "0"),
    ("FUNCTION", "LIST"),
    ("SAVE",),
    ("BGREWRITEAOF",),
    ("MIGRATE", "192.0.2.1", "6379", "", "0", "1"),
    ("RESTORE", "stentor:job:1", "0", ""),
    ("SWAPDB", "0", "1"),
    ("MONITOR",),
    ("SORT", "stentor:devices", "BY", "nosort", "GET", "*"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("SCRIPT", "FLUSH"),
    ("INFO",),
    ("GET", "somebody:elses"),
]
ALLOWED = [
    ("api", ("HGETALL", "stentor:keys")),
    ("api", ("HSET", "stentor:job:1", "state", "queued")),
    ("api", ("HGETALL", "stentor:webhooks:acme")),
    ("api", ("HGET", "stentor:device:host/cpu", "report")),
    ("worker", ("EXISTS", "stentor:webhooks:acme")),
    ("worker", ("HSET", "stentor:device:host/cpu", "report", "{}")),
    ("worker", ("PUBLISH", "stentor:celery:/0.celery.pidbox", "{}")),
    ("worker", ("SUBSCRIBE", "stentor:celery:/0.celery.pidbox")),
    ("io", ("SCAN", "0")),
    ("io", ("HGETALL", "stentor:keys")),
    ("io", ("GET", "stentor:signing:acme")),
    ("scheduler", ("LPUSH", "stentor:celery:synthesis", "{}")),
    ("scheduler", ("XPENDING", "stentor:lane:joe:bulk:0", "devices")),
    ("scheduler", ("ZCARD", "stentor:endpoint:whe_1:due")),
    ("flower", ("LLEN", "stentor:celery:io")),
]
REFUSED = [
    ("api", ("HSET", "stentor:keys", "digest", "{}")),
    ("api", ("HDEL", "stentor:keys", "digest")),
    ("api", ("SET", "stentor:leader", "me")),
    ("api", ("HSET", "stentor:device:host/cpu", "report", "{}")),
    ("api", ("HSET", "stentor:bill:host/cpu:1", "busy_s", "0")),
    ("api", ("SCAN", "0")),
    ("api", ("RENAME", "stentor:keys", "stentor:limits:mine")),
    ("worker", ("HGETALL", "stentor:keys")),
    ("worker", ("HGETALL", "stentor:webhooks:acme")),
    ("worker", ("HSET", "stentor:webhooks:acme", "whe_1", "{}")),
    ("worker", ("GET", "stentor:signing:acme")),
    ("worker", ("HGETALL", "stentor:idempotency:acme:digest")),
    ("worker", ("SCAN", "0")),
    ("worker", ("SUBSCRIBE", "news")),
    ("io", ("HSET", "stentor:keys", "digest", "{}")),
    ("io", ("SET", "stentor:leader", "me")),
    ("io", ("HSET", "stentor:voices", "joe", "{}")),
    ("scheduler", ("HGETALL", "stentor:keys")),
    ("scheduler", ("HGETALL", "stentor:job:1")),
    ("scheduler", ("XADD", "stentor:lane:joe:bulk:0", "*", "job", "1")),
    ("scheduler", ("HGETALL", "stentor:webhooks:acme")),
    ("scheduler", ("DEL", "stentor:endpoints:due")),
    ("scheduler", ("HSET", "stentor:device:host/cpu", "report", "{}")),
    ("flower", ("HGETALL", "stentor:keys")),
    ("flower", ("HGETALL", "stentor:job:1")),
    ("health", ("GET", "stentor:leader")),
]


@pytest.fixture(scope="module")
def server(near: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with shipped_valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


def verdict(server: Server, user: str, command: tuple[str, ...]) -> str:
    """`OK`, or why a user may not do this, as Redis tells without doing it."""
    answer = server.client("admin").execute_command("ACL", "DRYRUN", user, *command)  # type: ignore[no-untyped-call]
    return str(answer)


@pytest.mark.parametrize("role", [*ROLES, "flower", "health"])
def test_no_role_may_empty_move_or_list_the_database_change_the_server_or_run_its_own_code(
    server: Server, role: str
) -> None:
    allowed = [" ".join(command) for command in DANGEROUS if verdict(server, role, command) == "OK"]
    assert allowed == []


def test_each_role_may_do_what_it_needs(server: Server) -> None:
    assert {case: verdict(server, *case) for case in ALLOWED if verdict(server, *case) != "OK"} == {}


def test_no_role_may_touch_what_is_not_its_own(server: Server) -> None:
    assert [case for case in REFUSED if verdict(server, *case) == "OK"] == []


def test_commands_of_our_scripts_are_allowed_to_each_role(server: Server) -> None:
    with resources.as_file(resources.files("stentor.redis").joinpath("lua")) as folder:
        scripts = list(folder.rglob("*.lua"))
    called = {name for path in scripts for name in re.findall(r"redis\.p?call\('(\w+)'", path.read_text("utf-8"))}
    assert len(called) > 30
    known = server.client("admin").command()

    def call(name: str) -> tuple[str, ...]:
        if name in ("XGROUP", "XINFO"):
            return {"XGROUP": ("XGROUP", "CREATE", "lane", "group", "0"), "XINFO": ("XINFO", "GROUPS", "lane")}[name]
        return (name, *["1"] * (abs(known[name.lower()]["arity"]) - 1))

    refused = {
        (role, name)
        for role in ROLES
        for name in called
        if "no permissions to run" in verdict(server, role, call(name))
    }
    assert refused == set()


def test_who_has_no_password_is_nobody(server: Server) -> None:
    client = redis.Redis(port=server.port)
    with pytest.raises(redis.AuthenticationError):
        client.ping()


def test_who_gives_up_its_user_is_nobody_either(server: Server) -> None:
    client = redis.Redis.from_url(
        Path(server.url_file("worker")).read_text("utf-8").strip(), single_connection_client=True
    )
    assert client.execute_command("RESET") == "RESET"  # type: ignore[no-untyped-call]
    with pytest.raises(redis.AuthenticationError):
        client.get("stentor:leader")
    for password in ("", "default"):
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=server.port, username="default", password=password, protocol=2).ping()


def test_a_redis_that_was_killed_knows_what_transactions_and_scripts_have_written(server: Server) -> None:
    api = server.client("api")
    with api.pipeline(transaction=True) as pipe:
        pipe.hset("stentor:job:1", "state", "queued")
        pipe.xadd("stentor:lane:joe:bulk:0", {"job": "1"})
        pipe.execute()
    both = api.register_script("redis.call('SET', KEYS[1], 1) redis.call('SET', KEYS[2], 1)")
    both(keys=["stentor:usage:a", "stentor:usage:b"])
    server.kill_and_start()
    again = server.client("api")
    assert again.hgetall("stentor:job:1") == {"state": "queued"}
    assert [again.xlen("stentor:lane:joe:bulk:0"), again.exists("stentor:usage:a", "stentor:usage:b")] == [1, 2]
    again.delete("stentor:job:1", "stentor:lane:joe:bulk:0", "stentor:usage:a", "stentor:usage:b")


def test_a_role_cannot_read_who_the_others_are_from_the_secrets_of_redis(server: Server) -> None:
    acl = (server.secrets / "users.acl").read_text("utf-8")
    for role in (*ROLES, "admin"):
        password = Path(server.url_file(role)).read_text("utf-8").split(":")[2].split("@")[0]
        assert len(password) == 43
        assert password not in acl


def test_secrets_are_made_once(server: Server) -> None:
    before = {path.name: path.read_text("utf-8") for path in server.secrets.iterdir()}
    make_secrets(server.secrets)
    assert {path.name: path.read_text("utf-8") for path in server.secrets.iterdir()} == before


@pytest.mark.parametrize("user", ["worker", "health"])
def test_a_rotated_password_has_both_until_the_old_one_retires(server: Server, user: str) -> None:
    old, old_password = server.client(user), server.password(user)
    make_secrets(server.secrets, "rotate", user)
    server.client("admin").acl_load()
    assert server.password(user) != old_password
    assert [server.client(user).ping(), old.ping()] == [True, True]
    make_secrets(server.secrets, "retire")
    server.client("admin").acl_load()
    assert server.client(user).ping()
    with pytest.raises((redis.AuthenticationError, redis.ConnectionError)):
        redis.Redis(port=server.port, username=user, password=old_password).ping()


def test_secret_files_are_read_by_nobody_else_on_this_machine(server: Server) -> None:
    assert server.secrets.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in server.secrets.iterdir()}
    assert set(modes.values()) <= {0o440, 0o444}


PAGE = Path(__file__).parents[3] / "docs" / "reference" / "redis-keys.md"
WHO = {"io worker": "io", "api": "api", "device": "worker", "worker": "worker", "scheduler": "scheduler"}


def on_the_page() -> list[tuple[str, str, str]]:
    """Role, `SET` or `GET`, and a key of each kind, as the page says who writes and who reads it."""
    cases = []
    for line in PAGE.read_text("utf-8").splitlines():
        columns = [column.strip() for column in line.replace("\\|", "").split("|")[1:-1]]
        if not line.startswith("| `stentor:") or len(columns) < 5:
            continue
        key = re.sub(r"<[^>]+>|\*", "x", columns[0].strip("`"))
        for command, who in zip(("SET", "GET"), columns[4:6], strict=False):
            named = re.findall(r"io worker|\bapi\b|\bdevice\b|\bworker\b|\bscheduler\b", who)
            cases += [(WHO[one], command, key.replace("beat:x", f"beat:{WHO[one]}")) for one in named]
    return cases


def test_each_role_may_do_with_each_key_what_the_page_says_it_does(server: Server) -> None:
    cases = on_the_page()
    assert len(cases) > 120
    refused = [
        case
        for case in cases
        if verdict(server, case[0], (case[1], case[2], "1") if case[1] == "SET" else case[1:]) != "OK"
    ]
    assert refused == []


@pytest.mark.parametrize("role", ["api", "worker", "scheduler"])
def test_whoever_chooses_work_may_look_at_what_waits(server: Server, role: str) -> None:
    lane, admin = Lane(model="joe", priority="bulk", length=0), server.client("admin")
    admin.flushall()
    admin.sadd(keys.LANES, lane.key)
    admin.xgroup_create(lane.key, keys.GROUP, "0", mkstream=True)
    entries = [str(admin.xadd(lane.key, {"job": job})) for job in ("job_1", "job_2")]
    backlog = Backlog(server.client(role), lease_s=1)
    assert [state.waiting for state in backlog.lanes()] == [2], "nothing was noted"
    admin.xreadgroup(keys.GROUP, "host/cpu", {lane.key: ">"}, count=2)
    admin.xclaim(lane.key, keys.GROUP, "host/cpu", 0, [entries[0]], idle=2000, justid=True)
    admin.hset(keys.BACKLOG, lane.key, f"{lane.key}\x000\x000+")
    assert [state.waiting for state in backlog.lanes()] == [1], "one that a device was silent about"
    admin.xack(lane.key, keys.GROUP, *entries)
    admin.xdel(lane.key, *entries)
    assert backlog.lanes() == []
    assert admin.hkeys(keys.BACKLOG) == [""]
