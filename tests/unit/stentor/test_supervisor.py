"""The supervisor's policy as a function, and the supervisor with small real processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stentor.local.errors import ProcessFailed
from stentor.local.supervision import leftovers
from stentor.local.supervision.process import Spec, child_environ
from stentor.local.supervision.restarts import GiveUp, Restart, RestartHistory, after_death
from stentor.local.supervision.supervisor import Interrupted, Supervisor, SupervisorEvent

SLEEPER = "import time\nprint('here', flush=True)\ntime.sleep(600)"
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('here', flush=True)\ntime.sleep(600)"
)
PARENT = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print('child', child.pid, flush=True)\ntime.sleep(600)"
)


def eventually(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def spec(folder: Path, name: str, code: str, *, says: str = "here", grace_s: float = 5) -> Spec:
    log = folder / f"{name}.log"
    return Spec(
        name=name,
        argv=[sys.executable, "-S", "-c", code],
        environ={},
        log=log,
        cwd=folder,
        ready=lambda _: log.exists() and says in log.read_text(),
        grace_s=grace_s,
    )


@pytest.fixture
def events() -> list[SupervisorEvent]:
    return []


@pytest.fixture
def supervisor(events: list[SupervisorEvent]) -> Iterator[Supervisor]:
    made = Supervisor(events.append)
    yield made
    made.stop(hurry=lambda: True)


def test_the_first_death_is_answered_at_once() -> None:
    record = RestartHistory(started_at_s=100.0)
    assert after_death(record, now_s=101.0) == Restart(at_s=101.0, fast_deaths=1)


def test_fast_deaths_in_a_row_are_answered_more_and_more_slowly() -> None:
    waits = [
        decision.at_s - 101.0
        for deaths in range(5)
        if isinstance(
            decision := after_death(RestartHistory(started_at_s=100.0, fast_deaths=deaths), now_s=101.0), Restart
        )
    ]
    assert waits == [0.0, 0.5, 1.0, 2.0, 5.0]


def test_six_fast_deaths_in_a_row_are_too_many() -> None:
    assert after_death(RestartHistory(started_at_s=100.0, fast_deaths=5), now_s=101.0) == GiveUp(fast_deaths=6)


def test_a_process_that_has_never_answered_gets_one_more_chance() -> None:
    first = after_death(RestartHistory(started_at_s=100.0, was_ready=False), now_s=101.0)
    second = after_death(RestartHistory(started_at_s=101.0, fast_deaths=1, was_ready=False), now_s=102.0)
    assert (first, second) == (Restart(at_s=101.0, fast_deaths=1), GiveUp(fast_deaths=2))


def test_a_long_life_forgives_earlier_deaths() -> None:
    assert after_death(RestartHistory(started_at_s=100.0, fast_deaths=5), now_s=120.0) == Restart(
        at_s=120.0, fast_deaths=1
    )


def test_a_child_gets_only_what_it_needs_of_the_environment() -> None:
    environ = {"PATH": "/bin", "LC_ALL": "C", "AWS_SECRET_ACCESS_KEY": "s", "CUDA_HOME": "/cuda", "PATHOLOGY": "x"}
    assert child_environ(environ, "CUDA_") == {"PATH": "/bin", "LC_ALL": "C", "CUDA_HOME": "/cuda"}


def test_processes_start_side_by_side_and_stop_in_reverse(
    tmp_path: Path, supervisor: Supervisor, events: list[SupervisorEvent]
) -> None:
    supervisor.launch([spec(tmp_path, "a", SLEEPER), spec(tmp_path, "b", SLEEPER)])
    supervisor.launch([spec(tmp_path, "c", SLEEPER)])
    supervisor.wait_ready()
    pids = list(supervisor.pids.values())
    supervisor.stop()
    assert [event.name for event in events if event.kind == "stopped"] == ["c", "a", "b"]
    assert not any(leftovers.is_alive(pid) for pid in pids)


def test_a_killed_process_is_started_again_and_it_is_said(
    tmp_path: Path, supervisor: Supervisor, events: list[SupervisorEvent]
) -> None:
    supervisor.launch([spec(tmp_path, "a", SLEEPER)])
    supervisor.wait_ready()
    before = supervisor.pids["a"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: (supervisor.check(), events[-1].kind == "ready" and supervisor.pids["a"] != before)[1])
    assert [event.kind for event in events] == ["starting", "ready", "died", "starting", "ready"]
    assert events[2].detail == "killed by SIGKILL, restarting"


def test_children_of_a_killed_process_do_not_outlive_it(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.launch([spec(tmp_path, "a", PARENT, says="child")])
    supervisor.wait_ready()
    child = int((tmp_path / "a.log").read_text().split()[1])
    os.kill(supervisor.pids["a"], signal.SIGKILL)
    eventually(lambda: (supervisor.check(), not leftovers.is_alive(child))[1])


def test_a_process_that_cannot_start_is_an_error_with_the_end_of_its_log(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    supervisor.launch([spec(tmp_path, "a", "raise SystemExit('no configuration')")])
    with pytest.raises(
        ProcessFailed, match=r"(?s)a died 2 times in a row, most recently with exit code 1.*no configuration"
    ):
        supervisor.wait_ready()


def test_a_process_that_does_not_answer_in_time_is_an_error(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.launch([spec(tmp_path, "a", SLEEPER, says="never said")])
    with pytest.raises(ProcessFailed, match="a was not ready within 0 s"):
        supervisor.wait_ready(timeout_s=0.3)


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path, supervisor: Supervisor) -> None:
    missing = Spec(
        name="a", argv=["/nowhere/a"], environ={}, log=tmp_path / "a.log", cwd=tmp_path, ready=lambda _: True
    )
    with pytest.raises(ProcessFailed, match="Cannot start a"):
        supervisor.launch([missing])


def test_a_process_that_ignores_the_request_to_stop_is_killed_after_its_grace(
    tmp_path: Path, supervisor: Supervisor, events: list[SupervisorEvent]
) -> None:
    supervisor.launch([spec(tmp_path, "a", STUBBORN, grace_s=0.2)])
    supervisor.wait_ready()
    supervisor.stop()
    assert (events[-1].kind, events[-1].detail) == ("stopped", "killed")


def test_a_stop_that_is_asked_for_while_starting_is_obeyed(tmp_path: Path) -> None:
    supervisor = Supervisor(stop_requested=lambda: True)
    supervisor.launch([spec(tmp_path, "a", SLEEPER, says="never said")])
    with pytest.raises(Interrupted):
        supervisor.wait_ready()
    supervisor.stop(hurry=lambda: True)
    assert supervisor.pids == {}
