"""Objects in S3 through boto3: audio, voices and files of bulks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stentor.errors import AudioNotFound, StorageUnavailable
from stentor.settings import Settings

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3 import S3Client

#: Size of the pieces in which an object is streamed.
STREAM_BYTES = 64 * 1024
#: Size of the parts of an upload of unknown length, and number of parts in memory at a time. S3 accepts 10,000 parts:
#: 80 GB.
PART_BYTES, PARTS_IN_MEMORY = 8 * 2**20, 3
#: Prefixes of the keys of all objects that Stentor writes.
OWN_PREFIXES = ("audio/", "bulk/", "voices/")
#: Error codes of S3 servers for a missing object or bucket.
MISSING_CODES = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})


def may_be_named(key: str) -> bool:
    """Whether a client may name an object of our bucket by this key; not one of Stentor's own, in any spelling.

    Some S3 servers treat a key as a path, where ``..`` leads up, even out of the bucket.
    """
    parts = key.split("/")
    return not key.startswith(OWN_PREFIXES) and not {"", ".", ".."} & set(parts)


def audio_key(job_id: str, created_at_s: float, extension: str) -> str:
    """Key of a job's audio. It depends on the job alone, so that speaking again overwrites the same object."""
    day = datetime.fromtimestamp(created_at_s, UTC)
    return f"audio/{day:%Y/%m/%d}/{job_id}.{extension}"


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Raise ``AudioNotFound`` for a missing object, and ``StorageUnavailable`` for other errors of boto3."""
    try:
        yield
    except ClientError as exc:
        code = exc.response.get("Error", {}).get("Code", "")
        if code in MISSING_CODES:
            raise AudioNotFound(f"The storage has no such object ({code}).") from exc
        raise StorageUnavailable(f"The storage refused the request: {code}: {exc}") from exc
    except BotoCoreError as exc:
        raise StorageUnavailable(f"The storage does not answer: {exc}") from exc


@contextlib.contextmanager
def writing_errors() -> Iterator[None]:
    """The same for writes: there a missing object is the bucket, which may be created before the next try."""
    try:
        with storage_errors():
            yield
    except AudioNotFound as exc:
        raise StorageUnavailable(f"The storage accepts no objects: {exc.detail}") from exc


class Storage:
    """The bucket with all objects. Safe for threads.

    Raises:
        StorageUnavailable: from every method that uses the network, when S3 does not answer or refuses.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.bucket = settings.s3_bucket

    def _client(self, endpoint: str) -> S3Client:
        settings = self._settings
        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint,
            region_name=settings.s3_region,
            aws_access_key_id=settings.s3_access_key.get_secret_value(),
            aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=3,
                read_timeout=30,
                retries={"mode": "standard", "max_attempts": 2},
                max_pool_connections=32,
                # Not all servers other than AWS's know the checksums that boto3 adds by default.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    @functools.cached_property
    def client(self) -> S3Client:
        """The client for our own reads and writes."""
        return self._client(self._settings.s3_endpoint)

    @functools.cached_property
    def _public(self) -> S3Client:
        return self._client(self._settings.s3_public_endpoint or self._settings.s3_endpoint)

    def ensure_bucket(self) -> None:
        """Create the bucket if it is missing."""
        with storage_errors():
            try:
                self.client.head_bucket(Bucket=self.bucket)
            except ClientError as exc:
                if exc.response.get("Error", {}).get("Code") not in MISSING_CODES:
                    raise
                self.client.create_bucket(Bucket=self.bucket)

    def check(self) -> None:
        """Return when the bucket answers.

        Raises:
            StorageUnavailable: it does not answer, or it is missing.
        """
        try:
            with storage_errors():
                self.client.head_bucket(Bucket=self.bucket)
        except AudioNotFound as exc:
            raise StorageUnavailable(f"The storage has no bucket {self.bucket!r}.") from exc

    def put(self, key: str, body: bytes, *, content_type: str) -> None:
        """Write an object; an older one with this key is replaced."""
        with writing_errors():
            self.client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

    def put_file(self, key: str, file: IO[bytes], *, content_type: str) -> None:
        """Write an object from a file that is open for reading, in constant memory; up to 5 GiB."""
        with writing_errors():
            self.client.put_object(Bucket=self.bucket, Key=key, Body=file, ContentType=content_type)

    def put_stream(
        self, key: str, source: IO[bytes], *, content_type: str, facts: Mapping[str, str] | None = None
    ) -> None:
        """Write an object of any length from a readable source, in constant memory, completely or not at all.

        ``facts`` are stored with it, for the method ``facts``.

        Raises:
            Exception: what reading ``source`` raised; nothing is stored then.
        """
        kept = dict(facts or {})
        first = source.read(PART_BYTES)
        if len(first) < PART_BYTES:
            with writing_errors():
                self.client.put_object(Bucket=self.bucket, Key=key, Body=first, ContentType=content_type, Metadata=kept)
            return
        parts = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=PARTS_IN_MEMORY - 1
        )
        parts.max_in_memory_upload_chunks = PARTS_IN_MEMORY
        with writing_errors():
            self.client.upload_fileobj(
                cast("IO[bytes]", _Joined(first, source)),
                self.bucket,
                key,
                ExtraArgs={"ContentType": content_type, "Metadata": kept},
                Config=parts,
            )

    def facts(self, key: str) -> dict[str, str] | None:
        """The facts that are stored with an object; None if the object does not exist."""
        try:
            with storage_errors():
                return self.client.head_object(Bucket=self.bucket, Key=key)["Metadata"]
        except AudioNotFound:
            return None

    def size_of(self, key: str, *, bucket: str | None = None) -> int:
        """The size of an object in bytes, by default of our bucket.

        Raises:
            AudioNotFound: the object does not exist.
        """
        with storage_errors():
            return self.client.head_object(Bucket=bucket or self.bucket, Key=key)["ContentLength"]

    def get(self, key: str) -> bytes:
        """The bytes of an object.

        Raises:
            AudioNotFound: the object does not exist.
        """
        with storage_errors():
            return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def fetch(self, key: str, path: Path, *, bucket: str | None = None) -> None:
        """Write the bytes of an object into a file, in constant memory.

        Raises:
            AudioNotFound: the object does not exist.
        """
        with storage_errors(), path.open("wb") as file:
            for piece in self.stream(key, bucket=bucket):
                file.write(piece)

    def stream(self, key: str, *, bucket: str | None = None) -> Iterator[bytes]:
        """The bytes of an object in pieces, by default of our bucket. A missing object raises here, not later.

        Raises:
            AudioNotFound: the object does not exist.
        """
        with storage_errors():
            body = self.client.get_object(Bucket=bucket or self.bucket, Key=key)["Body"]
        return _pieces(body)

    def delete(self, key: str) -> None:
        """Delete an object; a missing one is no error."""
        with storage_errors():
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def url(self, key: str, *, filename: str, content_type: str) -> str:
        """A presigned URL of the object, valid for ``presign_s`` seconds. Does not use the network."""
        return self._public.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.bucket,
                "Key": key,
                "ResponseContentDisposition": f'inline; filename="{filename}"',
                "ResponseContentType": content_type,
            },
            ExpiresIn=self._settings.presign_s,
        )


def _pieces(body: StreamingBody) -> Iterator[bytes]:
    with storage_errors():
        yield from body.iter_chunks(STREAM_BYTES)


class _Joined:
    """The bytes that were read from a file already, followed by the rest of the file."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first = first
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        if not self._first:
            return self._rest.read(size)
        if size < 0 or size > len(self._first):
            whole, self._first = self._first, b""
            return whole + self._rest.read(size - len(whole) if size >= 0 else -1)
        part, self._first = self._first[:size], self._first[size:]
        return part
