"""Jobs that may be rows of bulks: those are in Redis only while they are in lanes, and else in what the bulk keeps."""

from __future__ import annotations

from api.services import services
from stentor.bulks.bulk import row_of
from stentor.errors import AudioNotFound, BulkNotFound, BulkStateConflict, JobNotFound, JobSettled
from stentor.jobs.job import Job


def find_job(job_id: str, owner: str) -> Job:
    """The owner's job as it is now.

    Raises:
        JobNotFound: this owner has no job of this id.
        RedisUnavailable, StorageUnavailable: one of them does not answer.
    """
    try:
        return services().jobs.get(job_id, owner)
    except JobNotFound:
        row = _row(job_id, owner)
        if row is None:
            raise
        return row


def cancel_job(job_id: str, owner: str) -> Job:
    """The job, canceled.

    Raises:
        JobNotFound: this owner has no job of this id.
        JobSettled: it has its outcome.
        BulkStateConflict: it is a row of a bulk that is in no lane yet.
    """
    try:
        return services().jobs.cancel(job_id, owner)
    except JobNotFound:
        row = find_job(job_id, owner)
        if row.settled:
            raise JobSettled(f"the job is {row.state}; only a queued or running job can be canceled") from None
        raise BulkStateConflict(
            f"the job is row {row.row} of {row.bulk} and waits for its turn; cancel the bulk, or the job when it runs"
        ) from None


def _row(job_id: str, owner: str) -> Job | None:
    place = row_of(job_id)
    if place is None:
        return None
    try:
        return services().results.row(services().bulks.get(place[0], owner), place[1])
    except (BulkNotFound, AudioNotFound):
        return None
