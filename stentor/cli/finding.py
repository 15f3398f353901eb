"""Finds the Stentor to use: that of the environment, or else the ``stentor up`` that runs in the data directory."""

from __future__ import annotations

import os

from stentor.client import Client
from stentor.errors import ApiUnavailable
from stentor.local import runfile
from stentor.local.directory import default_data_dir
from stentor.local.runfile import RunFile
from stentor.settings import Settings


def running() -> RunFile | None:
    """The stack that runs in the default data directory (``$STENTOR_DATA_DIR``), or None."""
    return runfile.read(default_data_dir(os.environ))


def find_api() -> tuple[str, str]:
    """Address and key of the API: ``STENTOR_API_URL`` and ``STENTOR_API_KEY``, else those of the running stack.

    Raises:
        ApiUnavailable: neither is available.
    """
    url, key = os.environ.get("STENTOR_API_URL"), os.environ.get("STENTOR_API_KEY")
    if url:
        # Do not send the key of a local stack to another server.
        return url.rstrip("/"), key or ""
    if (run := running()) is None:
        raise ApiUnavailable(
            f"No `stentor up` is running in {default_data_dir(os.environ)}, and STENTOR_API_URL is not set. Start one, "
            "or set STENTOR_API_URL and STENTOR_API_KEY, or STENTOR_DATA_DIR if it runs in another directory."
        )
    return run.api_url, key or run.api_key


def open_client() -> Client:
    """A client of the API that ``find_api`` finds. Use it in a ``with`` statement.

    Raises:
        ApiUnavailable: no API runs here, and no address is set.
    """
    return Client(*find_api())


def find_settings() -> Settings:
    """The settings of the environment, with Redis and S3 of the running stack where the environment names none."""
    environ = dict(os.environ)
    if (run := running()) is not None:
        if not any(name.startswith("STENTOR_REDIS_URL") for name in environ):
            environ["STENTOR_REDIS_URL"] = run.redis_url
        if not any(
            name.startswith(("STENTOR_S3_ENDPOINT", "STENTOR_S3_ACCESS", "STENTOR_S3_SECRET")) for name in environ
        ):
            environ |= {
                "STENTOR_S3_ENDPOINT": run.s3_endpoint,
                "STENTOR_S3_BUCKET": run.s3_bucket,
                "STENTOR_S3_ACCESS_KEY": run.s3_access_key,
                "STENTOR_S3_SECRET_KEY": run.s3_secret_key,
            }
            environ.pop("STENTOR_S3_BUCKET_FILE", None)
    return Settings.from_environ(environ)
