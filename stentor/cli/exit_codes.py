"""The exit codes of ``stentor``. They are stable, for use in scripts."""

from __future__ import annotations

from stentor.errors import ConfigurationError, Problem, StentorError

OK = 0
#: Some jobs failed, or ``doctor`` found a problem; also every other failure.
FAILED = 1
#: The command line or a request is wrong.
USAGE = 2
#: A service does not answer; a retry may help.
UNREACHABLE = 3
NOT_FOUND = 4
ACCESS = 5
CONFIGURATION = 6
#: Ended by Ctrl-C: 128 + SIGINT, as in shells.
INTERRUPTED = 130

#: By the HTTP status of the error, whether it was raised here or came from the API.
_BY_STATUS = {
    400: USAGE,
    401: ACCESS,
    403: ACCESS,
    404: NOT_FOUND,
    413: USAGE,
    415: USAGE,
    422: USAGE,
    429: UNREACHABLE,
    503: UNREACHABLE,
}


def of(error: StentorError) -> int:
    """The exit code of a failure."""
    if isinstance(error, ConfigurationError):
        return CONFIGURATION
    if isinstance(error, Problem) and error.status >= 500:
        return UNREACHABLE
    return _BY_STATUS.get(error.status, FAILED)
