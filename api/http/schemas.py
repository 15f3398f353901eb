"""What all of HTTP has in common as pydantic models: problems, health, and requests without parameters."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FieldErrorOut(BaseModel):
    """One wrong field of a request."""

    field: str
    code: str
    detail: str


class RowErrorOut(BaseModel):
    """One thing that is wrong with a file."""

    row: int = Field(description="Counted from 1 after the header; 0 is the header, or the whole file.")
    column: str = Field(description="Empty when the whole row is meant.")
    code: str
    detail: str


class ProblemOut(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    errors: list[FieldErrorOut | RowErrorOut] | None = Field(None, description="At most the first 100.")
    error_count: int | None = Field(None, description="Number of errors, if there are more than in `errors`.")
    bulk_id: str | None = Field(None, description="Of a file that was refused.")
    errors_url: str | None = Field(None, description="All errors of that file.")
    error_counts: dict[str, int] | None = Field(None, description="How often the file has which error.")


class HealthOut(BaseModel):
    """The api's process answers."""

    status: Literal["ok"] = "ok"


class CheckOut(BaseModel):
    """One thing that is needed."""

    ok: bool
    detail: str


class ReadyOut(BaseModel):
    """Whether texts sent now would be spoken now."""

    ready: bool
    checks: dict[str, CheckOut]


class NoQuery(BaseModel):
    """An endpoint that takes no parameters."""

    model_config = ConfigDict(extra="forbid")
