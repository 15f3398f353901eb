"""The hand: rows that a device holds, ready and not yet spoken, and the jobs they belong to."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from stentor.jobs.job import PRIORITIES
from worker.batching.budget import Budgets
from worker.batching.packing import Candidate, pack
from worker.batching.rows import BatchRow, ClaimedJob
from worker.claiming.claims import Claim
from worker.engines.contract import Engine


class ReadyQueue:
    """Rows in the order in which they were claimed. One thread changes it; ``claims`` is safe for others."""

    def __init__(self) -> None:
        self.rows: list[BatchRow] = []
        self._claimed_jobs: dict[ClaimedJob, None] = {}
        self._lock = threading.Lock()

    @property
    def claimed_jobs(self) -> list[ClaimedJob]:
        """All jobs in hand, in the order in which they were claimed."""
        with self._lock:
            return list(self._claimed_jobs)

    @property
    def claims(self) -> list[Claim]:
        """All jobs in hand; those whose last row is in a forward pass are still among them."""
        return [claim for claimed in self.claimed_jobs for claim in claimed.claims]

    def add(self, claimed: ClaimedJob, rows: list[BatchRow]) -> None:
        """Take a claimed and its rows."""
        with self._lock:
            self._claimed_jobs[claimed] = None
        self.rows.extend(rows)

    def drop(self, claimed: ClaimedJob) -> None:
        """Let go of a claimed: its last answer is in, or it was given back."""
        with self._lock:
            self._claimed_jobs.pop(claimed, None)
        self.rows = [row for row in self.rows if row.claimed is not claimed]

    @property
    def model(self) -> str:
        """The model of the most urgent row in ready."""
        return min(self.rows, key=lambda row: row.rank).claimed.job.model

    def cost(self, model: str, *, rank: int = len(PRIORITIES)) -> int:
        """Estimated cost, without padding, of the rows of a model that are at least as urgent as ``rank``."""
        return sum(row.utterance.cost for row in self.rows if row.claimed.job.model == model and row.rank <= rank)

    def take_batch(self, engines: Mapping[str, Engine], budgets: Budgets) -> list[BatchRow]:
        """The rows of the next forward pass, out of the hand: all of one model, that of the most urgent row."""
        if not self.rows:
            return []
        model = self.model
        mates = [row for row in self.rows if row.claimed.job.model == model]
        info = engines[model].info
        packed = pack([_candidate(row) for row in mates], budget=budgets.of(info), pads=info.pads)
        chosen = {id(mates[at]) for at in packed}
        batch = [row for row in mates if id(row) in chosen]
        self.rows = [row for row in self.rows if id(row) not in chosen]
        return batch


def _candidate(row: BatchRow) -> Candidate:
    return Candidate(cost=row.utterance.cost, rank=row.rank, suspect=row.alone)
