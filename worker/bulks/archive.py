"""The archive of a bulk: its audio and its manifest as ZIP files, written straight into S3 in constant memory."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import IO, Any, Final, cast

from stentor import log
from stentor.bulks import bulk as bulks
from stentor.bulks import manifest
from stentor.bulks.audio_names import audio_name
from stentor.bulks.bulk import Bulk, BulkState, MakingState
from stentor.bulks.manifest import Results
from stentor.bulks.store import BulkStore
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from worker.bulks import whole
from worker.bulks.fetching import fetch_ahead

_log = log.get(__name__)

#: Most files and bytes of audio of one part: whatever opens ZIP files opens those of up to 65,535 files and 4 GiB.
PART_FILES, PART_BYTES = 50_000, 4_000_000_000
#: Bytes that are handed on at a time.
SLICE_BYTES: Final = 2**20
#: What a part says about rows that succeeded and whose object is gone.
MISSING: Final = "missing.txt"
#: Names that are not for audio.
_TAKEN: Final = ("manifest.csv", "manifest.jsonl", MISSING)

Line = dict[str, Any]


def pack(bulk_id: str, settings: Settings) -> None:
    """Pack the bulk's archive, unless it is packed or no longer requested.

    Raises:
        StorageUnavailable, RedisUnavailable: one of them does not answer; nothing is left half-done, try again later.
        LockTaken: another process packs it; look again later, for that process may die.
    """

    def pack(bulk: Bulk, store: BulkStore, check: Callable[[], None]) -> dict[str, Any]:
        return {"archive_keys": list(_parts(bulk, store, Storage(settings), settings.public_url or "", check))}

    whole.make(bulk_id, settings, work="archive", making=MakingState.PACKING, wanted=_is_wanted, act=pack)


def _is_wanted(bulk: Bulk) -> bool:
    return bulk.state in {BulkState.SUCCEEDED, BulkState.CANCELED} and not bulk.dry_run


def _parts(bulk: Bulk, store: BulkStore, storage: Storage, base_url: str, check: Callable[[], None]) -> Iterator[str]:
    """Write all parts; their keys."""
    results = Results(store, storage)
    lines = (line for chunk in range(bulk.chunks) for line in results.chunk(bulk, chunk) if line.get("audio_key"))
    files = fetch_ahead(storage, lines, lambda line: str(line["audio_key"]), lambda line: line.get("audio_bytes") or 0)
    following = next(files, None)
    number = 0
    while number == 0 or following is not None:
        number += 1
        part = _ArchivePart(first=following, rest=files, check=check)
        key = bulks.archive_key(bulk.id, number)
        about = _manifests(bulk, results, base_url) if number == 1 else iter(())
        zipped = _zip(part.entries(about), datetime.fromtimestamp(bulk.created_at, UTC))
        storage.put_stream(key, cast("IO[bytes]", Reader(zipped)), content_type="application/zip")
        following = part.following
        yield key


def _manifests(bulk: Bulk, results: Results, base_url: str) -> Iterator[tuple[str, Iterable[bytes]]]:
    for kind in ("csv", "jsonl"):
        yield f"manifest.{kind}", manifest.with_addresses(results.pieces(bulk, kind), bulk, kind, base_url)


class _ArchivePart:
    """The files of one part, taken from all that are left until it is full."""

    def __init__(
        self,
        *,
        first: tuple[Line, bytes | None] | None,
        rest: Iterator[tuple[Line, bytes | None]],
        check: Callable[[], None],
    ) -> None:
        #: The first file of the next part; None if this is the last one.
        self.following = first
        self._rest = rest
        self._check = check
        self._names = {name.casefold() for name in _TAKEN}
        self._missing: list[str] = []

    def entries(self, about: Iterator[tuple[str, Iterable[bytes]]]) -> Iterator[tuple[str, Iterable[bytes]]]:
        """Name and content of each file: first what is ``about`` the bulk, then audio."""
        yield from about
        files = size = 0
        while self.following is not None:
            line, body = self.following
            size += len(body or b"")
            if files and (files == PART_FILES or size > PART_BYTES):
                break
            files += 1
            self._check()
            if body is None:
                self._missing.append(f"row {line['row']}, {line['id']}: {line['audio_key']}\n")
            else:
                yield self._unique_name(audio_name(line)), (body,)
            self.following = next(self._rest, None)
        if self._missing:
            yield MISSING, (text.encode() for text in self._missing)

    def _unique_name(self, name: str) -> str:
        """The name, with a number if this part has it already (where upper and lower case are the same)."""
        path, number = PurePosixPath(name), 1
        while name.casefold() in self._names:
            number += 1
            name = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        self._names.add(name.casefold())
        return name


def _zip(entries: Iterator[tuple[str, Iterable[bytes]]], at: datetime) -> Iterator[bytes]:
    """A ZIP of the entries, stored as they are (audio does not get smaller), as pieces that follow each other."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name, at.timetuple()[:6])
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            # A manifest's length is known when it has been written; it may be beyond 2 GiB.
            known = isinstance(content, Sequence)
            info.file_size = sum(map(len, cast("Sequence[bytes]", content))) if known else 0
            with archive.open(info, "w", force_zip64=not known) as file:
                for piece in content:
                    for start in range(0, len(piece), SLICE_BYTES):
                        file.write(piece[start : start + SLICE_BYTES])
                        yield sink.take()
        yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """Where the ZIP is written to: it cannot be gone back in, so sizes and checksums follow each file."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Take the bytes."""
        self._written += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._written)
        self._written.clear()
        return taken


class Reader(io.RawIOBase):
    """Pieces as a file that can be read once, from beginning to end. What making a piece raises, reading raises."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes; fewer only at the end."""
        parts, wanted = [self._left], size if size >= 0 else 2**63
        have = len(self._left)
        while have < wanted and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            have += len(piece)
        whole = b"".join(parts)
        self._left = whole[wanted:]
        return whole[:wanted]
