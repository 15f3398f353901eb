"""What only sweeps need from S3: lists, and removal of many objects at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from stentor.errors import StorageUnavailable
from stentor.storage.s3 import Storage, storage_errors

#: Objects of one list, and of one call that removes them: as many as S3 takes.
PAGE: Final = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """One object, and when it was written, in seconds since the epoch."""

    key: str
    modified_s: float


class Bucket:
    """The bucket as sweeps see it.

    Raises:
        StorageUnavailable: from every method, when S3 does not answer or refuses.
    """

    def __init__(self, storage: Storage) -> None:
        self._client = storage.client
        self._bucket = storage.bucket

    def objects(self, prefix: str, after: str) -> list[Stored]:
        """Up to ``PAGE`` objects below ``prefix`` in order of their keys, from behind ``after``; fewer are the last."""
        with storage_errors():
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=after, MaxKeys=PAGE)
        return [
            Stored(key=found["Key"], modified_s=found["LastModified"].timestamp())
            for found in answer.get("Contents", [])
        ]

    def folders(self, prefix: str, after: str) -> tuple[list[str], bool]:
        """What ``/`` sets apart below ``prefix``, in order, behind ``after`` or with it; and whether there is more."""
        with storage_errors():
            answer = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=prefix, StartAfter=after, Delimiter="/", MaxKeys=PAGE
            )
        return [found["Prefix"] for found in answer.get("CommonPrefixes", [])], answer["IsTruncated"]

    def delete(self, keys: Sequence[str]) -> None:
        """Remove up to ``PAGE`` objects; one that is not there is no error."""
        with storage_errors():
            answer = self._client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        refused = answer.get("Errors", [])
        if refused:
            first = refused[0]
            raise StorageUnavailable(
                f"the storage did not remove {len(refused)} objects: {first.get('Key')}: {first.get('Code')}"
            )

    def abort_uploads(self, prefix: str, *, begun_before_s: float) -> int:
        """How many uploads in parts below ``prefix`` were given up that were begun before then and never completed."""
        with storage_errors():
            answer = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix, MaxUploads=PAGE)
            old = [one for one in answer.get("Uploads", []) if one["Initiated"].timestamp() < begun_before_s]
            for upload in old:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return len(old)
