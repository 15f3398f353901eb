"""What the exit codes of ``stentor`` mean; scripts may rely on them."""

from __future__ import annotations

from stentor import errors

OK = 0
#: Some jobs failed, or ``doctor`` found something missing; also every failure without a code of its own.
FAILED = 1
#: The command line or a request is wrong.
USAGE = 2
#: Something that is needed does not answer; trying again later may help.
UNREACHABLE = 3
NOT_FOUND = 4
ACCESS = 5
CONFIGURATION = 6
#: Ended by Ctrl-C, as shells say it: 128 + SIGINT.
INTERRUPTED = 130

_BY_KIND: tuple[tuple[type[errors.StentorError], int], ...] = (
    (errors.ConfigurationError, CONFIGURATION),
    (errors.UnavailableError, UNREACHABLE),
    (errors.NotFoundError, NOT_FOUND),
    (errors.AccessError, ACCESS),
    (errors.RequestError, USAGE),
)
#: What a problem that the API answered means here, by HTTP status.
_BY_STATUS = {
    400: USAGE,
    401: ACCESS,
    403: ACCESS,
    404: NOT_FOUND,
    413: USAGE,
    415: USAGE,
    422: USAGE,
    429: UNREACHABLE,
}


def of(error: errors.StentorError) -> int:
    """The exit code for a failure, by its place in the tree; for an answer of the API, by its status."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return UNREACHABLE if status >= 500 else _BY_STATUS.get(status, FAILED)
    return next((code for kind, code in _BY_KIND if isinstance(error, kind)), FAILED)
