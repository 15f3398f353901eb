"""What the exit codes of ``stentor`` mean; scripts may rely on them."""

from __future__ import annotations

from stentor.errors import ConfigurationError, Problem, StentorError

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

#: By the HTTP status of the error, whether it happened here or the API answered it.
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
