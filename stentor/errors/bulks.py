"""Why a file of texts is refused, and what cannot be done with a bulk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stentor.errors.base import ConflictError, NotFoundError, RequestError


class BulkError(RequestError):
    """A file of texts is refused, as a whole or because of some rows."""

    code = "bulk_invalid"
    #: The row in which reading ended, counted from 1 after the header; 0 for the header or the whole file.
    row: int = 0
    #: The column that is wrong; empty for the whole row.
    column: str = ""
    #: The first hundred errors up to that row, each a dataclass of row, column, code and detail.
    errors: Sequence[Any] = ()


class FileEmpty(BulkError):
    """The file has no bytes, or no rows."""


class FileTooLarge(BulkError):
    """The file has more bytes than allowed, packed or unpacked."""

    status = 413


class FileEncoding(BulkError):
    """The encoding of the file is not supported, or a byte is invalid in it."""


class FileUnreadable(BulkError):
    """The file is not CSV, TSV or JSON Lines but an archive, a web page, an image or broken gzip."""


class SourceRefused(BulkError):
    """Bulks may not be read from this bucket or key."""


class SourceNotFound(BulkError):
    """The source does not exist."""


class TooManyRows(BulkError):
    """The file has more rows than one bulk may have."""


class ColumnMissing(BulkError):
    """A required column is missing."""


class ColumnUnknown(BulkError):
    """The name of a column looks like a misspelled known one."""


class ColumnDuplicate(BulkError):
    """Two columns have the same name."""


class ColumnInvalid(BulkError):
    """A column's name is not allowed for metadata, or there are too many metadata columns."""


class RowMalformed(BulkError):
    """A row has another number of fields than the header, an unclosed quote, or is not a JSON object."""


class IdDuplicate(BulkError):
    """An earlier row has the same id."""


class FilenameDuplicate(BulkError):
    """An earlier row has the same file name."""


class FilenameUnsafe(BulkError):
    """The file name leads out of its folder, or a file system refuses it."""


class BulkNotFound(NotFoundError):
    """The owner has no bulk with this id."""


class BulkFileNotFound(NotFoundError):
    """The bulk does not have this file: it was not requested, or would be empty."""


class BulkStateConflict(ConflictError):
    """The state of the bulk does not allow this."""


class FileNotReady(ConflictError):
    """The file is still being made."""

    retryable = True
