"""A forward pass that hangs or takes all memory is ended, and what it spoke is known afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import cast

from stentor.errors import EngineCrashed, EngineHung, OutOfMemory
from stentor.settings import Settings
from tests.support.speech.factories import ToneEngine
from worker.batching.rows import BatchRow
from worker.process.blackbox import SIZE, BlackBox, CrashReport
from worker.process.guard import Guard

NO_ROWS = cast("Sequence[BatchRow]", ())
#: A parent that forks a child, which hangs inside of C code that holds the GIL; and then reads what it left.
HANGS = """
import ctypes, json, os
from stentor.settings import Settings
from tests.support.speech.factories import ToneEngine
from worker.process.blackbox import BlackBox
from worker.process.guard import Guard

box = BlackBox()
child = os.fork()
if child == 0:
    guard = Guard(Settings(batch_deadline_s=0.3), box, memory_limit_bytes=None)
    with guard.during((), ToneEngine().info):
        box.begin(frozenset({"job_x"}))
        ctypes.PyDLL(None).sleep(60)
_, status = os.waitpid(child, 0)
last = box.read_crash_report()
print(json.dumps([os.waitstatus_to_exitcode(status), sorted(last.jobs), last.stack, box.read_crash_report().stack]))
"""


def test_a_pass_that_hangs_in_c_code_is_ended_and_the_parent_knows_its_jobs() -> None:
    started = time.monotonic()
    run = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=True)
    code, jobs, stack, later = json.loads(run.stdout)
    assert (code, jobs, later) == (1, ["job_x"], "")
    assert stack.startswith("Timeout")
    assert 'File "<string>", line 14' in stack
    assert time.monotonic() - started < 30


def test_a_pass_that_ends_in_time_leaves_nothing_behind() -> None:
    box = BlackBox()
    guard = Guard(Settings(batch_deadline_s=60), box, memory_limit_bytes=None)
    with guard.during(NO_ROWS, ToneEngine().info):
        pass
    assert box.read_crash_report() == CrashReport(jobs=frozenset())


def test_a_process_far_beyond_its_cap_ends_itself_and_says_why() -> None:
    box, ended = BlackBox(), threading.Event()
    guard = Guard(Settings(), box, memory_limit_bytes=100, resident=lambda: 121, end=ended.set)
    guard.start()
    assert not ended.wait(0.5)  # it may be loading a model
    with guard.during(NO_ROWS, ToneEngine().info):
        box.begin(frozenset({"job_x"}))
        assert ended.wait(10)
        last = box.read_crash_report()
    assert last is not None
    assert last.jobs == {"job_x"}
    assert last.out_of_memory


def test_a_process_a_little_beyond_its_cap_is_full_once_it_has_spoken() -> None:
    guard = Guard(Settings(), BlackBox(), memory_limit_bytes=100, resident=lambda: 101)
    before = guard.full
    with guard.during(NO_ROWS, ToneEngine().info):
        pass
    assert (before, guard.full) == (False, True)
    assert not Guard(Settings(), BlackBox(), memory_limit_bytes=None).full


def test_a_fresh_box_knows_nothing() -> None:
    assert BlackBox().read_crash_report() is None


def test_a_list_of_jobs_beyond_its_size_is_not_kept_in_part() -> None:
    box = BlackBox()
    box.begin(frozenset({"job_x"}))
    box.begin(frozenset("job_" + "x" * 100 + str(number) for number in range(SIZE // 100)))
    assert box.read_crash_report() is None


def test_how_a_process_ended_names_the_error() -> None:
    jobs = frozenset({"job_x"})
    assert isinstance(CrashReport(jobs=jobs).error(""), EngineCrashed)
    assert isinstance(CrashReport(jobs=jobs, stack="Timeout").error(""), EngineHung)
    assert isinstance(CrashReport(jobs=jobs, out_of_memory=True).error(""), OutOfMemory)
