"""The ready queue: rows that are prepared and not yet spoken, and the jobs that they belong to."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from stentor.jobs.job import PRIORITIES
from worker.batching.budget import Budgets
from worker.batching.packing import Candidate, pack
from worker.batching.rows import BatchRow, ClaimedJob, PreparedJob
from worker.engines.contract import Engine


class ReadyQueue:
    """Rows in the order in which they were claimed. Only the drain changes it; other threads may read it."""

    def __init__(self) -> None:
        self._rows: list[BatchRow] = []
        self._jobs: dict[ClaimedJob, None] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        """Whether rows wait to be spoken."""
        return bool(self._rows)

    @property
    def jobs(self) -> list[ClaimedJob]:
        """All its jobs in the order in which they were claimed. A job stays while its last rows are being spoken."""
        with self._lock:
            return list(self._jobs)

    @property
    def oldest_at(self) -> float:
        """When the first of its rows was claimed, in the seconds of ``time.monotonic``."""
        return min(row.claimed_at for row in self._rows)

    @property
    def model(self) -> str:
        """The model of the most urgent row."""
        return min(self._rows, key=lambda row: row.rank).claimed.job.model

    def cost(self, model: str, *, rank: int = len(PRIORITIES)) -> int:
        """Estimated cost, without padding, of the rows of a model that are at least as urgent as ``rank``."""
        return cost_of(self._rows, model, rank=rank)

    def add(self, prepared: PreparedJob) -> None:
        """Add a job and its rows."""
        with self._lock:
            self._jobs[prepared.claimed] = None
        self.put_back(prepared.rows)

    def put_back(self, rows: Iterable[BatchRow]) -> None:
        """Add more rows of jobs that are here."""
        self._rows.extend(rows)

    def remove(self, claimed: ClaimedJob) -> None:
        """Remove a job: its last answer has come, or it was given back."""
        with self._lock:
            self._jobs.pop(claimed, None)
        self._rows = [row for row in self._rows if row.claimed is not claimed]

    def take_batch(self, engines: Mapping[str, Engine], budgets: Budgets) -> list[BatchRow]:
        """Remove and return the rows of the next forward pass: all are of the most urgent row's model."""
        if not self._rows:
            return []
        model = self.model
        mates = [row for row in self._rows if row.claimed.job.model == model]
        info = engines[model].info
        packed = pack([_candidate(row) for row in mates], budget=budgets.of(info), pads=info.pads)
        return self._take([mates[at] for at in packed])

    def take_next(self, claimed: ClaimedJob) -> list[BatchRow]:
        """Remove and return the first row of one job; empty if none is left."""
        return self._take([row for row in self._rows if row.claimed is claimed][:1])

    def _take(self, batch: list[BatchRow]) -> list[BatchRow]:
        chosen = {id(row) for row in batch}
        self._rows = [row for row in self._rows if id(row) not in chosen]
        return batch


def cost_of(rows: Iterable[BatchRow], model: str, *, rank: int) -> int:
    """Estimated cost, without padding, of those rows of a model that are at least as urgent as ``rank``."""
    return sum(row.utterance.cost for row in rows if row.claimed.job.model == model and row.rank <= rank)


def _candidate(row: BatchRow) -> Candidate:
    return Candidate(cost=row.utterance.cost, rank=row.rank, suspect=row.alone)
