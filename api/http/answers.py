"""What holds for every request and every answer, whatever the endpoint."""

from __future__ import annotations

import re
from typing import Final

from flask import Flask, Response, request

from stentor.errors import HostInvalid

#: A name or address with an optional port, as RFC 9110 allows in `Host`. Links are made of it.
HOST: Final = re.compile(r"([A-Za-z0-9_.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


def install(app: Flask) -> None:
    """Check the host of requests, and let no answer be stored or taken for another type than it says."""
    # Before all others: they may make links.
    app.before_request_funcs.setdefault(None, []).insert(0, _check_host)
    app.after_request(_add_headers)


def _check_host() -> None:
    host = request.environ.get("HTTP_HOST", "")
    if host and not HOST.fullmatch(host):
        raise HostInvalid("The `Host` header is not a host name or address with an optional port.")


def _add_headers(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
