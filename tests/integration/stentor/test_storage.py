"""The storage against a real S3 server."""

from __future__ import annotations

import io

import pytest

from stentor.errors import AudioNotFound, StorageUnavailable
from stentor.settings import Settings
from stentor.storage.s3 import Storage


def test_a_missing_bucket_is_a_storage_that_is_away_for_who_writes(settings: Settings, storage: Storage) -> None:
    nowhere = Storage(settings.model_copy(update={"s3_bucket": "nowhere"}))
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        nowhere.put("audio/x.wav", b"audio", content_type="audio/wav")
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        nowhere.put_stream("audio/x.wav", io.BytesIO(b"audio"), content_type="audio/wav")
    with pytest.raises(AudioNotFound):
        storage.get("audio/never-was.wav")
