"""What a bulk has made: its rows, its manifest, the errors of its file, its archive and its groups."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from flask import Response, redirect
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from api.bulks.schemas import (
    ArchiveQuery,
    BulkOut,
    BulkPath,
    GroupOut,
    GroupPageOut,
    GroupPath,
    ListGroupsQuery,
    ListRowsQuery,
    RowOut,
    RowPageOut,
)
from api.bulks.view import base_url, shown
from api.http.auth import authorize, owner
from api.http.schemas import NoQuery
from api.jobs.schemas import ErrorOut
from api.services import services
from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import Bulk, BulkState, MakingState, chunk_of
from stentor.bulks.manifest import with_addresses
from stentor.doorbell import PACK_ARCHIVE
from stentor.errors import AudioNotFound, BulkFileNotFound, BulkStateConflict, FileNotReady

#: Chunks that one request looks through for rows of a state; then it answers with what it has and where to go on.
SCAN_CHUNKS = 20

blueprint = APIBlueprint(
    "bulk_files", __name__, url_prefix="/v1/bulks", abp_tags=[Tag(name="bulks")], abp_security=[{"key": []}]
)
blueprint.before_request(authorize())


@blueprint.get("/<bulk_id>/rows", responses={200: RowPageOut})
def list_rows(path: BulkPath, query: ListRowsQuery) -> dict[str, Any]:
    """List the rows of a bulk, in order: lines of its manifest."""
    bulk = _with_rows(path)
    found: list[dict[str, Any]] = []
    chunks = _chunks(bulk, query)
    for chunk in chunks[:SCAN_CHUNKS]:
        lines = services().results.chunk(bulk, chunk)
        found += [line for line in lines if line["row"] > query.cursor and query.state in (None, line["state"])]
        if len(found) > query.limit:
            break
    page = [_row(line) for line in found[: query.limit]]
    next_cursor = None
    if len(found) > query.limit:
        next_cursor = page[-1]["row"]
    elif len(chunks) > SCAN_CHUNKS:
        next_cursor = (chunks[SCAN_CHUNKS - 1] + 1) * bulks.CHUNK_ROWS
    return {"rows": page, "next_cursor": next_cursor}


def _chunks(bulk: Bulk, query: ListRowsQuery) -> list[int]:
    """The chunks that rows of the state may be in, from that of the cursor on."""
    first = chunk_of(query.cursor + 1)
    if query.state == "failed":
        # In this order: a chunk that closes in between is among the failures then.
        still_open = services().bulks.open_chunks(bulk.id)
        known = {*still_open, *services().bulks.failures(bulk.id)}
        return sorted(chunk for chunk in known if chunk >= first)
    # Without a state, the chunk of the cursor and the next one fill a page.
    most = bulk.chunks if query.state else min(bulk.chunks, first + 2)
    return list(range(first, most))


def _row(line: dict[str, Any]) -> dict[str, Any]:
    row = RowOut.model_validate(line).model_dump(mode="json")
    if row["audio_url"]:
        row["audio_url"] = f"{base_url()}{row['audio_url']}"
    return row


@blueprint.get("/<bulk_id>/manifest.jsonl")
def get_manifest_jsonl(path: BulkPath, query: NoQuery) -> Response:
    """Fetch the manifest as JSON Lines; complete also while the bulk runs."""
    return _manifest(path, "jsonl", "application/jsonl")


@blueprint.get("/<bulk_id>/manifest.csv")
def get_manifest_csv(path: BulkPath, query: NoQuery) -> Response:
    """Fetch the manifest as CSV; complete also while the bulk runs."""
    return _manifest(path, "csv", "text/csv; charset=utf-8")


def _manifest(path: BulkPath, kind: str, content_type: str) -> Response:
    bulk = _with_rows(path)
    pieces = with_addresses(services().results.pieces(bulk, kind), bulk, kind, base_url())
    return _download(pieces, f"{bulk.id}.{kind}", content_type)


@blueprint.get("/<bulk_id>/errors.csv")
def get_errors(path: BulkPath, query: NoQuery) -> Response:
    """Fetch all errors of the file: row, column, code, detail."""
    bulk = services().bulks.get(path.bulk_id, owner())
    if bulk.state == BulkState.CHECKING:
        raise FileNotReady("the file is still being checked")
    try:
        pieces = services().storage.stream(bulks.errors_key(bulk.id))
    except AudioNotFound as exc:
        raise BulkFileNotFound(f"the bulk is {bulk.state}; its errors are there when the file was checked") from exc
    return _download(pieces, f"{bulk.id}-errors.csv", "text/csv; charset=utf-8")


def _download(pieces: Iterable[bytes], filename: str, content_type: str) -> Response:
    """The pieces as they come. What goes wrong with the first is a problem; later, the connection breaks."""
    rest = iter(pieces)
    first = next(rest, b"")
    response = Response(chain((first,), rest), content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


@blueprint.post("/<bulk_id>/archive", responses={202: BulkOut})
def pack_archive(path: BulkPath) -> tuple[dict[str, Any], int]:
    """Have the audio packed into an archive: now, or as soon as the bulk has ended."""
    store = services().bulks
    bulk = _with_rows(path)
    store.put(bulk.id, archive=True)
    # Looked at again: if it ends after this, the feeder sees that an archive was requested.
    bulk = store.get(path.bulk_id, owner())
    if bulk.ended and bulk.archive_state != MakingState.READY:
        store.put(bulk.id, archive_state=MakingState.PACKING)
        store.wake(bulk.id)
        services().doorbell.ask(PACK_ARCHIVE, bulk_id=bulk.id)
    return shown(store.get(path.bulk_id, owner())), 202


@blueprint.get("/<bulk_id>/archive.zip")
def get_archive(path: BulkPath, query: ArchiveQuery) -> Any:
    """Fetch the archive, or a part of it: a redirect to the storage."""
    bulk = services().bulks.get(path.bulk_id, owner())
    if bulk.archive_state == MakingState.FAILED:
        raise BulkFileNotFound("the archive could not be packed; POST .../archive tries again")
    if bulk.archive_state != MakingState.READY:
        if not bulk.archive or bulk.dry_run:
            raise BulkFileNotFound("There is no archive. Request one with POST .../archive.")
        raise FileNotReady(f"the bulk is {bulk.state}, and its archive is not packed yet")
    if query.part > len(bulk.archive_keys):
        raise BulkFileNotFound(f"the archive has {len(bulk.archive_keys)} parts; there is no part {query.part}")
    name = f"{bulk.id}.zip" if len(bulk.archive_keys) == 1 else f"{bulk.id}-{query.part:03d}.zip"
    url = services().storage.url(bulk.archive_keys[query.part - 1], filename=name, content_type="application/zip")
    return redirect(url)


@blueprint.get("/<bulk_id>/groups", responses={200: GroupPageOut})
def list_groups(path: BulkPath, query: ListGroupsQuery) -> dict[str, Any]:
    """List the groups of rows that are joined into a file each."""
    bulk = services().bulks.get(path.bulk_id, owner())
    found: list[dict[str, Any]] = []
    for at, line in enumerate(_groups(bulk)):
        if at >= query.cursor + query.limit:
            return {"groups": found, "next_cursor": at}
        if at >= query.cursor:
            found.append(_group(bulk, line))
    return {"groups": found, "next_cursor": None}


@blueprint.get("/<bulk_id>/groups/<path:name>")
def get_group(path: GroupPath, query: NoQuery) -> Any:
    """Fetch the audio of a group: a redirect to the storage."""
    bulk = services().bulks.get(path.bulk_id, owner())
    line = next((line for line in _groups(bulk) if line["group"] == path.name), None)
    if line is None:
        raise BulkFileNotFound(f"the bulk has no group {path.name!r}")
    if "state" not in line:
        raise FileNotReady(f"the bulk is {bulk.state}, and its groups are not joined yet")
    if "key" not in line:
        raise AudioNotFound(f"the group has no audio: {line['error_detail']}")
    return redirect(_url(line))


def _groups(bulk: Bulk) -> Iterator[dict[str, Any]]:
    """What is known of each group: what came of joining it, or that it is there."""
    if not bulk.groups:
        return
    key = bulks.joined_key(bulk.id) if bulk.groups_state == MakingState.READY else bulks.groups_key(bulk.id)
    left = b""
    for piece in services().storage.stream(key):
        *whole, left = (left + piece).split(b"\n")
        yield from map(json.loads, filter(None, whole))
    if left.strip():
        yield json.loads(left)


def _group(bulk: Bulk, line: dict[str, Any]) -> dict[str, Any]:
    error = None
    if "error_code" in line:
        error = ErrorOut(code=line["error_code"], detail=line["error_detail"], retryable=False)
    return GroupOut(
        group=line["group"],
        state=line.get("state", "waiting"),
        rows=line["rows"],
        url=_url(line) if "key" in line else None,
        audio_s=line.get("audio_s"),
        audio_bytes=line.get("audio_bytes"),
        sha256=line.get("sha256"),
        error=error,
    ).model_dump(mode="json")


def _url(line: dict[str, Any]) -> str:
    name = line["key"].rpartition("/")[2]
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    return services().storage.url(line["key"], filename=plain, content_type="application/octet-stream")


def _with_rows(path: BulkPath) -> Bulk:
    """The bulk, if rows of it are spoken.

    Raises:
        BulkNotFound: this owner has no bulk of this id.
        BulkStateConflict: its file is being checked, was refused, or was to be checked and no more.
    """
    bulk = services().bulks.get(path.bulk_id, owner())
    if bulk.dry_run:
        raise BulkStateConflict("the bulk was a dry run; nothing of it is spoken")
    if bulk.chunks == 0 or bulk.error_code is not None:
        raise BulkStateConflict(f"the bulk is {bulk.state}; it has rows when its file has been checked and taken")
    return bulk
