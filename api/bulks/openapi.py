"""What the description says of bulks beyond their models: a body of two kinds, and answers that are files."""

from __future__ import annotations

from typing import Any

from api.bulks.schemas import BulkForm, BulkSource
from stentor.settings import Settings

_PATH = "/v1/bulks"
_FILES = {
    "manifest.jsonl": ("application/jsonl", "A line of JSON per row."),
    "manifest.csv": ("text/csv", "A line per row."),
    "errors.csv": ("text/csv", "A line per error: row, column, code, detail."),
}
_REDIRECTS = ("archive.zip", "groups/{name}")
#: What is there only in some states.
_CONFLICTING = ("rows", "errors.csv", "manifest.jsonl", "manifest.csv", *_REDIRECTS)


def complete(spec: dict[str, Any], settings: Settings, conflict: dict[str, Any]) -> None:
    """Add to the generated description what it lacks of bulks; ``conflict`` is the answer 409."""
    spec["components"]["schemas"].update(_schemas())
    form = {"$ref": "#/components/schemas/BulkForm"}
    bodies = {"multipart/form-data": {"schema": form}}
    if settings.bulk_sources:
        bodies["application/json"] = {"schema": {"$ref": "#/components/schemas/BulkSource"}}
    spec["paths"][_PATH]["post"]["requestBody"] = {"required": True, "content": bodies}
    for name, (content_type, description) in _FILES.items():
        text = {"content": {content_type: {"schema": {"type": "string"}}}, "description": description}
        _get(spec, name)["responses"] = {"200": text}
    for name in _REDIRECTS:
        location = {"Location": {"schema": {"type": "string", "format": "uri"}}}
        _get(spec, name)["responses"] = {"302": {"description": "Where it lies in the storage.", "headers": location}}
    for name in _CONFLICTING:
        _get(spec, name)["responses"]["409"] = conflict


def _get(spec: dict[str, Any], name: str) -> dict[str, Any]:
    operation: dict[str, Any] = spec["paths"][f"{_PATH}/{{bulk_id}}/{name}"]["get"]
    return operation


def _schemas() -> dict[str, Any]:
    form, source = BulkForm.model_json_schema(), BulkSource.model_json_schema()
    # A form has no null: what is not known is left out.
    for name, field in form["properties"].items():
        kinds = [one for one in field.get("anyOf", ()) if one["type"] != "null"]
        if kinds:
            about = {key: value for key, value in field.items() if key not in {"anyOf", "default"}}
            form["properties"][name] = {**kinds[0], **about}
    file = {"type": "string", "format": "binary", "minLength": 1, "description": "CSV, TSV or JSON Lines; gzip or not."}
    form["properties"] = {"file": file, **form["properties"]}
    form["required"] = ["file"]
    return {"BulkForm": form, "BulkSource": source}
