"""How much of the engine's speed is left when a backlog goes through the whole stack.

Run with ``python -m tests.bench.stack``. A `stentor up` and an engine in this process speak the same texts in turn;
the stack is idle while the engine speaks, and the engine while the stack does.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from stentor.client import Client
from tests.bench.engine import batch, cpu_name, loaded, texts
from tests.support.stacks.stack import Stack, stack
from worker.engines.contract import Engine

TEXTS = 300
ROUNDS = 3
#: Texts that the engine alone is given at a time: what a budget of 45 s of audio holds of them.
BLOCK = 10


def run() -> dict[str, Any]:
    """Audio seconds per second of both, their ratio overall and by round, and how soon the stack was ready."""
    mix = texts(TEXTS)
    engine = loaded()
    with tempfile.TemporaryDirectory(prefix="stentor-bench-") as data_dir, stack(Path(data_dir)) as running:
        first_say_s = _first_say(running)
        with running.client() as client:
            rounds = [_round(number, mix, engine, client) for number in range(ROUNDS)]
        ready_after_s = running.ready_after_s
    engine.unload()
    alone_audio_s, alone_took_s, stack_audio_s, stack_took_s = (sum(column) for column in zip(*rounds, strict=True))
    alone, whole = alone_audio_s / alone_took_s, stack_audio_s / stack_took_s
    return {
        "cpu": cpu_name(),
        "texts": len(mix),
        "ready_after_s": ready_after_s,
        "first_say_s": first_say_s,
        "engine_audio_s_per_s": alone,
        "stack_audio_s_per_s": whole,
        "ratio": whole / alone,
        "rounds": [{"engine": a / b, "stack": c / d, "ratio": (c / d) / (a / b)} for a, b, c, d in rounds],
    }


def _first_say(running: Stack) -> float:
    began_s = time.perf_counter()
    running.cli("say", "Hello from Stentor.", "-o", str(running.data_dir / "hello.wav"))
    return time.perf_counter() - began_s


def _round(number: int, mix: list[str], engine: Engine, client: Client) -> tuple[float, float, float, float]:
    if number % 2:
        through = _backlog(mix, client)
        return (*_alone(mix, engine), *through)
    return (*_alone(mix, engine), *_backlog(mix, client))


def _alone(mix: list[str], engine: Engine) -> tuple[float, float]:
    began_s = time.perf_counter()
    audio_s = sum(batch(engine, mix[at : at + BLOCK]) for at in range(0, len(mix), BLOCK))
    return audio_s, time.perf_counter() - began_s


def _backlog(mix: list[str], client: Client) -> tuple[float, float]:
    """From the moment of submitting to the last outcome."""
    began_s = time.perf_counter()
    jobs = client.submit_jobs([{"text": text, "seed": seed, "cache": False} for seed, text in enumerate(mix)])
    # The last ones are settled last, and asking for each of 300 would cost the device some of its time.
    waiting = [job["id"] for job in jobs]
    while waiting:
        client.settled_job(waiting[-1])
        states = {job["id"]: job for job in client.jobs(limit=1000)["jobs"]}
        waiting = [job_id for job_id in waiting if states[job_id]["state"] in {"queued", "running"}]
    took_s = time.perf_counter() - began_s
    spoken = [states[job["id"]] for job in jobs]
    assert all(job["state"] == "succeeded" for job in spoken), [job["error"] for job in spoken]
    return sum(job["audio_s"] or 0.0 for job in spoken), took_s


def report(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    print(f"\n{result['cpu']}, {result['texts']} texts through a whole stack; audio seconds per second")
    print(f"{'round':>7} {'engine':>8} {'stack':>8} {'ratio':>6}")
    for number, row in enumerate(result["rounds"], 1):
        print(f"{number:>7} {row['engine']:8.2f} {row['stack']:8.2f} {row['ratio']:6.3f}")
    overall = (result["engine_audio_s_per_s"], result["stack_audio_s_per_s"], result["ratio"])
    print(f"{'all':>7} {overall[0]:8.2f} {overall[1]:8.2f} {overall[2]:6.3f}")
    print(
        f"`stentor up` ready after {result['ready_after_s']:.1f} s, first `stentor say` {result['first_say_s']:.1f} s"
    )


if __name__ == "__main__":
    report(run())
