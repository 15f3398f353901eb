"""Requests with a file: the maximum size, and the fields of the form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import g, request
from pydantic import BaseModel, ConfigDict, model_validator

from api.services import services
from stentor.errors import ContentTypeUnsupported, StentorError
from stentor.settings import Settings

#: Bytes allowed for the other fields of a form and its boundaries.
FORM_BYTES = 256 * 1024


#: Endpoints that accept a file in a form, and the largest size of that file in bytes.
_FILE_BYTES: Mapping[tuple[str, str], Callable[[Settings], int]] = {
    ("POST", "/v1/bulks"): lambda settings: settings.bulk_max_bytes,
    ("POST", "/v1/voices"): lambda settings: settings.recording_max_bytes,
}


def upload_limit(method: str, path: str, content_type: str, settings: Settings) -> int:
    """Maximum size of a request body, in bytes."""
    file_bytes = _FILE_BYTES.get((method, path))
    if file_bytes is None or not content_type.lower().startswith("multipart/form-data"):
        return settings.max_body_bytes
    return file_bytes(settings) + FORM_BYTES


def expect_file(too_large: type[StentorError]) -> None:
    """Accept a form with a file as body; its limit is that of `upload_limit`.

    Raises:
        ContentTypeUnsupported: the body is not a form. (Its size is checked when it is read.)
    """
    if request.mimetype != "multipart/form-data":
        raise ContentTypeUnsupported(
            f"The content type is {request.mimetype or 'missing'}. This endpoint accepts multipart/form-data."
        )
    settings = services().settings
    request.max_content_length = upload_limit(request.method, request.path, request.mimetype, settings)
    g.too_large = too_large


class FormModel(BaseModel):
    """The fields and files of a form, as sent.

    flask-openapi3 parses form values as JSON where possible: a name ``1.0`` would become a number.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _take_raw_values(cls, _: Any) -> dict[str, Any]:
        return {**request.form.to_dict(), **request.files.to_dict()}
