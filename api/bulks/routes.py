"""`/v1/bulks`: submit a file of texts, look, wait, list, pause, resume, cancel, try again."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import pydantic
from flask import Response, request, url_for
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from api.bulks.schemas import (
    NAME_CHARS,
    BulkFields,
    BulkForm,
    BulkOut,
    BulkPageOut,
    BulkPath,
    BulkSource,
    GetBulkQuery,
    ListBulksQuery,
)
from api.bulks.view import Around, base_url, shown
from api.http import problems
from api.http.auth import authorize, key, owner
from api.http.idempotency import new_id
from api.http.limits import limits_of
from api.http.uploads import expect_file
from api.services import services
from api.waiting.waits import wait_for
from stentor import log
from stentor.bulks.bulk import VERSION, Bulk, BulkState, source_key
from stentor.doorbell import CHECK_BULK
from stentor.errors import (
    AudioNotFound,
    FieldInvalid,
    FileEmpty,
    FileTooLarge,
    RedisUnavailable,
    RequestError,
    SourceNotFound,
    SourceRefused,
    error_class,
)
from stentor.speech import field_names
from stentor.storage.s3 import OWN_PREFIXES, may_be_named
from stentor.webhooks.webhook import check_url

#: Statuses of refusals that are not about what is in the file.

_log = log.get(__name__)

Fields = TypeVar("Fields", bound=BulkFields)

blueprint = APIBlueprint(
    "bulks", __name__, url_prefix="/v1/bulks", abp_tags=[Tag(name="bulks")], abp_security=[{"key": []}]
)
blueprint.before_request(authorize())


@blueprint.before_request
def _expect_file() -> None:
    if request.endpoint == "bulks.submit_bulk" and not request.is_json:
        expect_file(FileTooLarge)


@blueprint.post("", responses={200: BulkOut, 202: BulkOut})
def submit_bulk() -> Any:
    """Submit a file of texts: as the part `file` of a form, or by its address in S3.

    Answers when the whole file has been checked: `202` if it is taken, `422` with what is wrong with it; `202` with the
    state `checking` if that takes longer. A dry run answers `200` instead of being taken.
    """
    bulk = _from_source() if request.is_json else _from_form()
    services().bulks.create(bulk)
    return _answer(_request_check(bulk))


def _request_check(bulk: Bulk) -> Bulk:
    """The bulk when it has been checked, or as it is after a while. It is accepted: nothing here fails any more."""
    try:
        services().doorbell.ask(CHECK_BULK, bulk_id=bulk.id)
        return wait_for(
            bulk.id,
            lambda: services().bulks.get(bulk.id, bulk.owner),
            services().settings.bulk_wait_s,
            over=lambda found: found.state != BulkState.CHECKING,
        )
    except RedisUnavailable as exc:
        # The feeder asks for the check of what was forgotten.
        _log.warning("check_not_waited_for", bulk_id=bulk.id, reason=exc.detail)
        return bulk


def _from_source() -> Bulk:
    fields = _fields(BulkSource, request.get_json())
    bucket, _, name = fields.source.removeprefix("s3://").partition("/")
    allowed = (services().settings.bulk_sources or "").split(",")
    if bucket not in allowed:
        raise SourceRefused(f"bulks are not read from the bucket {bucket!r}; STENTOR_BULK_SOURCES names those they are")
    if not may_be_named(name):
        raise SourceRefused(f"Bulks are not read from {name[:100]!r}. Use a key outside of {', '.join(OWN_PREFIXES)}.")
    try:
        _check_size(services().storage.size_of(name, bucket=bucket))
    except AudioNotFound as exc:
        raise SourceNotFound(f"there is no {fields.source}") from exc
    return _bulk(fields, bulk_id=new_id("bulk"), source=fields.source, file_name=name.rpartition("/")[2])


def _from_form() -> Bulk:
    upload = request.files.get("file")
    extra = [name for name in request.files if name != "file"]
    if upload is None or extra:
        seen = ", ".join(repr(name) for name in request.files) or "none"
        raise FieldInvalid(f"The form has the files {seen}. Send one file, in the part 'file'.")
    fields = _fields(BulkForm, request.form.to_dict())
    _check_size(upload.stream.seek(0, 2))
    upload.stream.seek(0)
    bulk = _bulk(fields, bulk_id=new_id("bulk"), source="", file_name=upload.filename or "")
    services().storage.put_stream(source_key(bulk.id), upload.stream, content_type="application/octet-stream")
    return bulk


def _check_size(size: int) -> None:
    most = services().settings.bulk_max_bytes
    if size == 0:
        raise FileEmpty("The file is empty. Add a header line and at least one row.")
    if size > most:
        raise FileTooLarge(f"The file has {size} bytes. At most {most} are allowed.")


def _fields(kind: type[Fields], given: Any) -> Fields:
    try:
        fields = kind.model_validate(given)
    except pydantic.ValidationError as exc:
        raise problems.invalid(exc) from exc
    wrong: list[dict[str, str]] = []
    for name, check in (("voice", _check_voice), ("webhook_url", _check_webhook)):
        try:
            check(fields)
        except RequestError as exc:
            wrong.append({"field": name, "code": exc.code, "detail": exc.detail})
    if wrong:
        raise problems.Invalid(wrong)
    return fields


def _check_voice(fields: BulkFields) -> None:
    voice = getattr(fields, "voice", None)
    if voice is not None:
        services().voices.get(voice, owner())


def _check_webhook(fields: BulkFields) -> None:
    if fields.webhook_url is not None:
        check_url(fields.webhook_url, services().settings.webhook_allow)


def _bulk(fields: BulkFields, *, bulk_id: str, source: str, file_name: str) -> Bulk:
    given = fields.model_dump(include={*field_names(), "cache"})
    given["voice"] = given["voice"] or services().settings.default_voice
    name = fields.name if fields.name is not None else file_name[:NAME_CHARS]
    return Bulk(
        version=VERSION,
        id=bulk_id,
        owner=owner(),
        key_id=key().id,
        limits=dataclasses.asdict(limits_of(key())),
        name=name.encode("utf-8", "replace").decode(),
        source=source or source_key(bulk_id),
        defaults={name: value for name, value in given.items() if value is not None},
        priority=fields.priority,
        on_error=fields.on_error,
        dry_run=fields.dry_run,
        archive=fields.archive,
        webhook_url=fields.webhook_url,
        webhook_progress=fields.webhook_progress,
        metadata=fields.metadata,
    )


def _answer(bulk: Bulk) -> Any:
    if bulk.state == BulkState.FAILED:
        return _refusal(bulk)
    headers = {"Location": url_for("bulks.get_bulk", bulk_id=bulk.id)}
    return shown(bulk), 200 if bulk.dry_run and bulk.ended else 202, headers


def _refusal(bulk: Bulk) -> Response:
    """The problem of a file that was refused: what is wrong with it, row by row."""
    report = bulk.report or {}
    return problems.problem(
        error_class(bulk.error_code or "").status,
        bulk.error_code or "",
        bulk.error_detail or "",
        more={
            "errors": list(report.get("errors", [])),
            "error_counts": dict(report.get("error_counts", {})),
            "bulk_id": bulk.id,
            "errors_url": f"{base_url()}/v1/bulks/{bulk.id}/errors.csv",
        },
    )


@blueprint.get("", responses={200: BulkPageOut})
def list_bulks(query: ListBulksQuery) -> dict[str, Any]:
    """List your bulks, newest first."""
    states = [query.state] if query.state else tuple(BulkState)
    page = services().bulks.list(owner(), states=states, limit=query.limit, after=query.cursor)
    around = Around.now()
    return {"bulks": [shown(bulk, around) for bulk in page.bulks], "next_cursor": page.next_cursor}


@blueprint.get("/<bulk_id>", responses={200: BulkOut})
def get_bulk(path: BulkPath, query: GetBulkQuery) -> dict[str, Any]:
    """Look at a bulk; with `wait`, wait for its end first."""
    name = owner()
    wait_s = min(query.wait, services().settings.max_wait_s)
    bulk = wait_for(
        path.bulk_id, lambda: services().bulks.get(path.bulk_id, name), wait_s, over=lambda found: found.ended
    )
    return shown(bulk)


@blueprint.post("/<bulk_id>/pause", responses={200: BulkOut})
def pause_bulk(path: BulkPath) -> dict[str, Any]:
    """Pause a bulk: what no device holds leaves the lanes."""
    return _move(path, "pause")


@blueprint.post("/<bulk_id>/resume", responses={200: BulkOut})
def resume_bulk(path: BulkPath) -> dict[str, Any]:
    """Go on with a bulk that is paused."""
    return _move(path, "resume")


@blueprint.post("/<bulk_id>/cancel", responses={200: BulkOut})
def cancel_bulk(path: BulkPath) -> dict[str, Any]:
    """Cancel a bulk that has not ended. What was spoken stays."""
    return _move(path, "cancel")


@blueprint.delete("/<bulk_id>", responses={200: BulkOut})
def delete_bulk(path: BulkPath) -> dict[str, Any]:
    """Cancel a bulk, as `POST .../cancel` does."""
    return _move(path, "cancel")


@blueprint.post("/<bulk_id>/retry", responses={200: BulkOut})
def retry_bulk(path: BulkPath) -> dict[str, Any]:
    """Try the failed rows of a bulk again, and no others."""
    return _move(path, "retry")


def _move(path: BulkPath, wish: str) -> dict[str, Any]:
    return shown(services().bulks.move(path.bulk_id, owner(), wish))
