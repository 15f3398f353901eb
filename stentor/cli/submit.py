"""Speaks a file of texts through the API: submit, wait, download, count."""

from __future__ import annotations

import dataclasses
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from stentor.client import Client, Problem
from stentor.client.types import JobJson
from stentor.errors import TextInvalid

#: Maximum number of jobs and characters in one request; the service allows 1000 jobs and 16 MiB.
REQUEST_JOBS, REQUEST_CHARS = 1000, 2_000_000
#: Number of simultaneous waits and downloads. Jobs settle in roughly the order of their submission.
THREADS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A text and its line number, from 1."""

    number: int
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """A line without audio, and why."""

    line: int
    job_id: str | None
    code: str
    detail: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubmitResult:
    """The result of a file of texts."""

    texts: int
    failures: tuple[Failure, ...]
    audio_s: float
    wall_s: float
    batches: int
    mean_batch_size: float
    output: Path

    @property
    def succeeded(self) -> int:
        """Number of lines with audio."""
        return self.texts - len(self.failures)


def read_lines(path: Path) -> list[Line]:
    """The texts of a UTF-8 file, one per line, without blank lines.

    Raises:
        TextInvalid: the file is not UTF-8.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise TextInvalid(f"{path} is not UTF-8: {exc.reason} at byte {exc.start}") from exc
    # Not splitlines(): a form feed or U+2028 inside a text does not end the line.
    numbered = enumerate(content.replace("\r\n", "\n").split("\n"), start=1)
    return [Line(number=number, text=text.strip()) for number, text in numbered if text.strip()]


class Submission:
    """Submits lines and downloads their audio. ``on_settled`` is called once per line, by one thread at a time."""

    def __init__(
        self, client: Client, output: Path, parameters: Mapping[str, Any], on_settled: Callable[[float], None]
    ) -> None:
        self._client = client
        self._output = output
        self._parameters = parameters
        self._on_settled = on_settled
        self._lock = threading.Lock()
        self._width = 1

    def run(self, lines: Sequence[Line]) -> SubmitResult:
        """Speak all lines and save each audio file as soon as it is ready."""
        started_s = time.monotonic()
        self._output.mkdir(parents=True, exist_ok=True)
        self._width = len(str(max((line.number for line in lines), default=0)))
        refused: list[Failure] = []
        pending: list[Future[JobJson | Failure]] = []
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="fetch")
        try:
            for part in _parts(lines):
                for line, answer in self._submit(part):
                    if isinstance(answer, Failure):
                        refused.append(answer)
                        self._report(0.0)
                    else:
                        pending.append(pool.submit(self._fetch, line, answer["id"]))
            done = [future.result() for future in as_completed(pending)]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return _result(len(lines), [*refused, *done], time.monotonic() - started_s, self._output)

    def _submit(self, lines: Sequence[Line]) -> Iterator[tuple[Line, JobJson | Failure]]:
        """Submit the lines in one request. If a text is refused, split the request in halves, so that only it fails."""
        try:
            wanted = [{"text": line.text, **self._parameters} for line in lines]
            # A single text is sent without a list, so that an error does not name its position in the list.
            jobs = self._client.submit_jobs(wanted) if len(wanted) > 1 else [self._client.submit_job(wanted[0])]
        except Problem as problem:
            if not problem.code.startswith("text_"):
                raise
            if len(lines) == 1:
                failure = Failure(line=lines[0].number, job_id=None, code=problem.code, detail=problem.detail)
                yield lines[0], failure
                return
            middle = len(lines) // 2
            yield from self._submit(lines[:middle])
            yield from self._submit(lines[middle:])
        else:
            yield from zip(lines, jobs, strict=True)

    def _fetch(self, line: Line, job_id: str) -> JobJson | Failure:
        try:
            job = self._client.settled_job(job_id)
            if job["state"] == "succeeded":
                name = f"{line.number:0{self._width}d}-{job_id}.{job['format']}"
                self._client.save_audio(job_id, self._output / name)
        except Problem as problem:
            self._report(0.0)
            return Failure(line=line.number, job_id=job_id, code=problem.code, detail=problem.detail)
        self._report(job["audio_s"] or 0.0)
        if job["state"] == "succeeded":
            return job
        error = job["error"] or {"code": job["state"], "detail": f"the job was {job['state']}"}
        return Failure(line=line.number, job_id=job_id, code=error["code"], detail=error["detail"])

    def _report(self, audio_s: float) -> None:
        with self._lock:
            self._on_settled(audio_s)


def _parts(lines: Sequence[Line]) -> Iterator[list[Line]]:
    part: list[Line] = []
    chars = 0
    for line in lines:
        if part and (len(part) == REQUEST_JOBS or chars + len(line.text) > REQUEST_CHARS):
            yield part
            part, chars = [], 0
        part.append(line)
        chars += len(line.text)
    if part:
        yield part


def _result(texts: int, answers: Sequence[JobJson | Failure], wall_s: float, output: Path) -> SubmitResult:
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    jobs = [answer for answer in answers if not isinstance(answer, Failure)]
    sizes = {job["batch"]["id"]: job["batch"]["size"] for job in jobs if job["batch"]}
    return SubmitResult(
        texts=texts,
        failures=tuple(sorted(failures, key=lambda failure: failure.line)),
        audio_s=sum(job["audio_s"] or 0.0 for job in jobs),
        wall_s=wall_s,
        batches=len(sizes),
        mean_batch_size=statistics.fmean(sizes.values()) if sizes else 0.0,
        output=output,
    )
