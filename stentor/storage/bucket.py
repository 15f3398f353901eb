"""``python -m stentor.storage.bucket``: creates the bucket if it is missing, which services on their own do not do."""

from __future__ import annotations

import os
import sys

from stentor import log
from stentor.errors import StentorError
from stentor.settings import Settings
from stentor.storage.s3 import Storage


def main() -> int:
    """0 if the bucket exists now, 1 if S3 does not answer or refuses."""
    settings = Settings.from_environ(os.environ)
    log.configure(settings, room="bucket")
    try:
        Storage(settings).ensure_bucket()
    except StentorError as exc:
        log.get(__name__).error("bucket_not_made", bucket=settings.s3_bucket, reason=exc.detail)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
