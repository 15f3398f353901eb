"""Requests with a file: the maximum size, and the fields of the form."""

from __future__ import annotations

from typing import Any

from flask import g, request
from pydantic import BaseModel, ConfigDict, model_validator

from stentor.errors import ContentTypeUnsupported, StentorError

#: Bytes allowed for the other fields of a form and its boundaries.
FORM_BYTES = 256 * 1024


def expect_file(max_bytes: int, too_large: type[StentorError]) -> None:
    """Accept a form with a file of up to ``max_bytes`` as body; werkzeug writes it to disk.

    Raises:
        ContentTypeUnsupported: the body is not a form. (Its size is checked when it is read.)
    """
    if request.mimetype != "multipart/form-data":
        raise ContentTypeUnsupported(
            f"The content type is {request.mimetype or 'missing'}. This endpoint accepts multipart/form-data."
        )
    request.max_content_length = max_bytes + FORM_BYTES
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
