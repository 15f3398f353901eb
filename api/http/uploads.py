"""Requests that bring a file: how large it may be, and their fields as they were sent."""

from __future__ import annotations

from typing import Any

from flask import g, request
from pydantic import BaseModel, ConfigDict, model_validator

from stentor.errors import ContentTypeUnsupported, StentorError

#: What the other fields of a form, and the lines between them, may have, in bytes.
FORM_BYTES = 256 * 1024


def expect_file(max_bytes: int, too_large: type[StentorError]) -> None:
    """Let the request's body be a form with a file of up to ``max_bytes``; werkzeug writes it to disk.

    Raises:
        ContentTypeUnsupported: it is no form. (One that is too large is found when it is read.)
    """
    if request.mimetype != "multipart/form-data":
        raise ContentTypeUnsupported(
            f"the body is {request.mimetype or 'of no content type'}; multipart/form-data is wanted"
        )
    request.max_content_length = max_bytes + FORM_BYTES
    g.too_large = too_large


class FormModel(BaseModel):
    """The fields and files of a form.

    flask-openapi3 reads values of forms as JSON where they can be read so: a name ``1.0`` would become a number.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _as_sent(cls, _: Any) -> dict[str, Any]:
        return {**request.form.to_dict(), **request.files.to_dict()}
