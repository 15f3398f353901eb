"""Checking the file of a bulk: fetched from S3, looked at as a whole, and accepted or refused."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import redis

from stentor import log
from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import Bulk, BulkState
from stentor.bulks.store import BulkStore
from stentor.errors import (
    AudioNotFound,
    BulkError,
    FileTooLarge,
    FileUnreadable,
    LimitError,
    RedisUnavailable,
    SourceNotFound,
    StentorError,
    UnavailableError,
)
from stentor.owners.access import Limits
from stentor.owners.usage import UsageStore
from stentor.redis import keys
from stentor.redis.client import redis_errors
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from stentor.voices.directory import VoiceDirectory
from worker.bulks.intake.check import check_file
from worker.bulks.intake.report import REJECT, CheckOptions, Report
from worker.bulks.locking import alone

_log = log.get(__name__)

#: Between two notes of how far checking is, in seconds.
NOTE_EVERY_S: Final = 0.5
#: A source in another bucket begins so; what else a source may be is a key in ours.
S3_SCHEME: Final = "s3://"


def check(bulk_id: str, settings: Settings) -> None:
    """Check the file of a bulk and accept or refuse it; doing it again changes nothing.

    Raises:
        UnavailableError: a neighbour is away, or another process is at it; the file is to be looked at again.
    """
    with alone(bulk_id, "check", settings) as (client, store, _):
        _Check(client, store, settings, bulk_id).run()


class _Check:
    """One attempt at checking one bulk's file."""

    def __init__(self, client: redis.Redis, store: BulkStore, settings: Settings, bulk_id: str) -> None:
        self._client = client
        self._settings = settings
        self._storage = Storage(settings)
        self._store = store
        self._bulk_id = bulk_id
        self._noted_at_s = 0.0

    def run(self) -> None:
        """Bring the bulk to where it belongs, unless it is there already."""
        bulk = self._store.find(self._bulk_id)
        if bulk is None or bulk.state != BulkState.CHECKING:
            return
        started_s = time.monotonic()
        try:
            self._count_attempt()
            with tempfile.TemporaryDirectory(prefix="stentor-bulk-") as folder:
                self._check(bulk, Path(folder))
        except UnavailableError:
            self._forgive_attempt()
            raise
        except (BulkError, LimitError) as exc:
            self._refuse(bulk, exc, {})
        except Exception:  # noqa: BLE001 - the last door: a bulk must not be checked for ever
            _log.exception("bulk_check_failed", bulk_id=bulk.id)
            self._refuse(bulk, _broken(), {})
        found = self._store.find(bulk.id)
        if found:
            _log.info(
                "bulk_checked",
                bulk_id=bulk.id,
                state=found.state,
                code=found.error_code,
                rows=found.rows,
                took_s=round(time.monotonic() - started_s, 3),
            )

    def _count_attempt(self) -> None:
        """Count this attempt.

        Raises:
            FileUnreadable: as many as are allowed have ended the process that checked it.
        """
        with redis_errors():
            checks = int(self._client.hincrby(keys.bulk(self._bulk_id), "checks", 1))
        if checks > self._settings.max_attempts:
            raise FileUnreadable(
                f"checking the file was begun {checks - 1} times and never ended; "
                f"{self._settings.max_attempts} times are allowed"
            )

    def _forgive_attempt(self) -> None:
        """Do not count an attempt that a neighbour's absence ended."""
        with contextlib.suppress(RedisUnavailable), redis_errors():
            self._client.hincrby(keys.bulk(self._bulk_id), "checks", -1)

    def _check(self, bulk: Bulk, folder: Path) -> None:
        source, errors, groups = folder / "source", folder / "errors.csv", folder / "groups.jsonl"
        self._fetch(bulk, source)
        voices = VoiceDirectory(self._client).of(bulk.owner)
        try:
            report = check_file(
                source,
                self._options(bulk),
                voices=voices.get,
                write_chunk=lambda chunk, body: self._storage.put(
                    bulks.rows_key(bulk.id, chunk), body, content_type="application/gzip"
                ),
                errors_path=errors,
                groups_path=groups,
                progress=self._note,
            )
        except BulkError as exc:
            self._put(errors, bulks.errors_key(bulk.id), "text/csv")
            faults = [dataclasses.asdict(fault) for fault in getattr(exc, "errors", ())]
            self._refuse(bulk, exc, {"report": {"errors": faults}})
            return
        self._put(errors, bulks.errors_key(bulk.id), "text/csv")
        if report.groups:
            self._put(groups, bulks.groups_key(bulk.id), "application/jsonl")
        self._decide(bulk, report)

    def _decide(self, bulk: Bulk, report: Report) -> None:
        fields = _fields(report)
        if report.bad_rows and bulk.on_error == REJECT:
            first = report.errors[0]
            named = f"row {first.row}, column {first.column!r}: {first.detail}"
            more = f" (and {report.bad_rows - 1} more rows)" if report.bad_rows > 1 else ""
            self._refuse(bulk, _Faulty(first.code, named + more), fields)
        elif bulk.dry_run:
            self._store.finish_dry_run(bulk.id, fields)
        else:
            self._count_characters(bulk, report.chars)
            with redis_errors():
                for recording in report.recordings:
                    self._client.sadd(keys.recording_uses(recording), bulk.id)
            self._store.accept(bulk.id, fields)

    def _count_characters(self, bulk: Bulk, chars: int) -> None:
        """Count the characters of the day, once however often the file is checked.

        Raises:
            DailyCharsExceeded: the key has fewer characters left.
        """
        if bulk.key_id:
            limits = Limits(**bulk.limits) if bulk.limits else Limits()
            UsageStore(self._client).add_characters(bulk.key_id, bulk.owner, chars, limits, bulk=bulk.id)

    def _refuse(self, bulk: Bulk, error: StentorError, fields: Mapping[str, Any]) -> None:
        self._store.refuse(bulk.id, error, fields)

    def _fetch(self, bulk: Bulk, path: Path) -> None:
        """Write the file as it came to ``path``.

        Raises:
            SourceNotFound: it is not there.
            FileTooLarge: it has more bytes than may be uploaded.
        """
        bucket, key = None, bulk.source
        if bulk.source.startswith(S3_SCHEME):
            bucket, _, key = bulk.source.removeprefix(S3_SCHEME).partition("/")
        most = self._settings.bulk_max_bytes
        try:
            size = self._storage.size_of(key, bucket=bucket)
            if size > most:
                raise FileTooLarge(f"{bulk.source} has {size} bytes. At most {most} are allowed.")
            self._storage.fetch(key, path, bucket=bucket)
        except AudioNotFound as exc:
            raise SourceNotFound(f"there is nothing at {bulk.source}") from exc

    def _options(self, bulk: Bulk) -> CheckOptions:
        settings = self._settings
        return CheckOptions(
            name=bulk.name,
            defaults=bulk.defaults,
            default_voice=settings.default_voice,
            on_error=bulk.on_error,
            max_bytes=settings.bulk_max_bytes,
            max_rows=settings.bulk_max_rows,
            max_text_chars=settings.max_text_chars,
        )

    def _put(self, path: Path, key: str, content_type: str) -> None:
        """Bring a file to S3; one that was never written is passed over."""
        if path.exists():
            with path.open("rb") as file:
                self._storage.put_stream(key, file, content_type=content_type)

    def _note(self, rows: int) -> None:
        """Publish the progress for clients that wait."""
        now_s = time.monotonic()
        if now_s - self._noted_at_s >= NOTE_EVERY_S:
            self._noted_at_s = now_s
            self._store.put(self._bulk_id, checked_rows=rows)


class _Faulty(BulkError):
    """A file with bad rows; code and sentence are those of the first."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def _broken() -> StentorError:
    return StentorError("something went wrong while the file was checked; the log of the io worker has the traceback")


def _fields(report: Report) -> dict[str, Any]:
    return {
        "rows": report.rows,
        "checked_rows": report.rows,
        "chunks": report.chunks,
        "chars": report.chars,
        "groups": report.groups,
        "recordings": list(report.recordings),
        "report": dataclasses.asdict(report),
    }
