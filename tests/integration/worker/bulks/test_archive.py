"""Archives, packed from a real S3 into a real S3."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import threading
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import redis

from stentor.bulks import bulk as bulks
from stentor.bulks.audio_names import audio_name, safe_part
from stentor.bulks.bulk import Bulk
from stentor.errors import StorageUnavailable
from stentor.redis import keys
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.support.work.bulks import BulkBench, failed, succeeded
from worker.bulks import archive
from worker.bulks.archive import Reader, pack
from worker.bulks.locking import LockTaken, lock

HOSTILE = [
    "../../x",
    "..",
    "/etc/passwd",
    "C:\\Windows\\x",
    "CON",
    "nul.txt",
    "🎉",
    "é" * 300,
    "a\nb\x00c",
    " . ",
    'quote"s',
    "=1+1",
]


@pytest.fixture
def bench(client: redis.Redis, settings: Settings, storage: Storage) -> BulkBench:
    return BulkBench(client, settings, storage)


def packed(bench: BulkBench, bulk: Bulk) -> list[zipfile.ZipFile]:
    """The parts of the bulk's archive."""
    pack(bulk.id, bench.settings)
    now = bench.now(bulk)
    assert now.archive_state == "ready"
    return [zipfile.ZipFile(io.BytesIO(bench.storage.get(key))) for key in now.archive_keys]


def test_an_archive_has_the_audio_and_the_manifest_under_names_that_do_no_harm(
    bench: BulkBench, tmp_path: Path
) -> None:
    rows = [{"id": name} for name in HOSTILE] + [{"filename": "de/hello.wav"}, {"id": "last"}]
    bulk = bench.taken(rows)
    outcomes = {row: bench.spoken(bulk, row, f"audio of row {row}".encode()) for row in range(1, len(rows))}
    bulk = bench.settle(bulk, {**outcomes, len(rows): failed()})
    (found,) = packed(bench, bulk)
    assert found.testzip() is None
    names = found.namelist()
    assert names[:2] == ["manifest.csv", "manifest.jsonl"]
    assert names[2:7] == ["1-_.._x.wav", "2-_.wav", "3-_etc_passwd.wav", "4-C__Windows_x.wav", "5-_CON.wav"]
    assert "de/hello.wav" in names
    assert len(names) == 2 + len(rows) - 1
    for row in range(1, len(rows)):
        assert found.read(names[row + 1]) == f"audio of row {row}".encode()
    assert all(len(name.encode()) < 200 and ".." not in name.split("/") for name in names)
    manifest = list(csv.DictReader(io.StringIO(found.read("manifest.csv").decode())))
    assert [line["state"] for line in manifest] == ["succeeded"] * (len(rows) - 1) + ["failed"]
    lines = [json.loads(line) for line in found.read("manifest.jsonl").splitlines()]
    assert [line["id"] for line in lines[:2]] == ["../../x", ".."]

    unzip = shutil.which("unzip")
    if unzip:
        path = tmp_path / "a.zip"
        path.write_bytes(bench.storage.get(bench.now(bulk).archive_keys[0]))
        done = subprocess.run([unzip, "-t", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_row_whose_audio_is_gone_is_named_and_the_others_are_packed(bench: BulkBench) -> None:
    bulk = bench.taken([{"id": "here"}, {"id": "gone"}])
    outcomes = {1: bench.spoken(bulk, 1, b"one"), 2: succeeded(audio_key="audio/nowhere.wav")}
    (found,) = packed(bench, bench.settle(bulk, outcomes))
    assert found.namelist() == ["manifest.csv", "manifest.jsonl", "1-here.wav", "missing.txt"]
    assert found.read("missing.txt") == b"row 2, gone: audio/nowhere.wav\n"


def test_a_bulk_of_which_nothing_was_spoken_has_an_archive_with_its_manifest(bench: BulkBench) -> None:
    bulk = bench.settle(bench.taken([{}]), {1: failed()})
    (found,) = packed(bench, bulk)
    assert found.namelist() == ["manifest.csv", "manifest.jsonl"]


def test_names_that_only_differ_in_case_are_told_apart(bench: BulkBench) -> None:
    bulk = bench.taken([{"filename": "a.wav"}, {"filename": "A.WAV"}, {"filename": "manifest.csv"}])
    bulk = bench.settle(bulk, {row: bench.spoken(bulk, row, b"x") for row in (1, 2, 3)})
    (found,) = packed(bench, bulk)
    assert found.namelist()[2:] == ["a.wav", "A-2.WAV", "manifest-2.csv"]


def test_large_archives_have_parts_and_every_row_is_in_one(bench: BulkBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PART_FILES", 3)
    monkeypatch.setattr(archive, "PART_BYTES", 100)
    bulk = bench.taken([{"id": str(row)} for row in range(1, 9)])
    sizes = [10, 10, 10, 10, 60, 60, 200, 10]
    bulk = bench.settle(bulk, {row: bench.spoken(bulk, row, b"x" * size) for row, size in enumerate(sizes, start=1)})
    parts = packed(bench, bulk)
    names = [[name for name in part.namelist() if not name.startswith("manifest")] for part in parts]
    assert names == [["1-1.wav", "2-2.wav", "3-3.wav"], ["4-4.wav", "5-5.wav"], ["6-6.wav"], ["7-7.wav"], ["8-8.wav"]]
    assert bench.now(bulk).archive_keys == [bulks.archive_key(bulk.id, part) for part in range(1, 6)]


@pytest.mark.slow
def test_thousands_of_files_are_packed_in_constant_memory(bench: BulkBench) -> None:
    rows = 1200
    bulk = bench.taken([{}] * rows)
    body = b"0123456789" * 5000
    bench.storage.put("audio/same.wav", body, content_type="audio/wav")
    outcome = succeeded(audio_key="audio/same.wav", audio_bytes=len(body))
    bulk = bench.settle(bulk, dict.fromkeys(range(1, rows + 1), outcome))
    tracemalloc.start()
    try:
        pack(bulk.id, bench.settings)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 60 MB of audio: what waits to be uploaded, and what was read ahead, is about 45 MB at most.
    assert peak < 56 * 2**20
    (key,) = bench.now(bulk).archive_keys
    found = zipfile.ZipFile(io.BytesIO(bench.storage.get(key)))
    assert len(found.namelist()) == rows + 2
    assert found.testzip() is None
    assert {info.file_size for info in found.infolist()[2:]} == {50_000}


def test_an_archive_is_whole_or_not_there(bench: BulkBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage goes away in the middle of the second 8 MiB part of an upload."""
    bulk = bench.taken([{}] * 40)
    body = b"x" * 2**20
    bulk = bench.settle(bulk, {row: bench.spoken(bulk, row, body) for row in range(1, 41)})
    get = Storage.get

    def break_off(storage: Storage, key: str) -> bytes:
        if key == bench.key_of(bulk, 39):
            raise StorageUnavailable("the storage does not answer")
        return get(storage, key)

    with monkeypatch.context() as patched:
        patched.setattr(Storage, "get", break_off)
        with pytest.raises(StorageUnavailable):
            pack(bulk.id, bench.settings)
    assert bench.storage.facts(bulks.archive_key(bulk.id, 1)) is None
    left = bench.storage.client.list_multipart_uploads(Bucket=bench.storage.bucket)
    assert [one for one in left.get("Uploads", []) if bulk.id in one["Key"]] == []
    assert bench.now(bulk).archive_state == "packing"
    (found,) = packed(bench, bulk)
    assert len(found.namelist()) == 42


def test_two_do_not_pack_at_once_and_what_is_packed_is_not_packed_again(bench: BulkBench) -> None:
    bulk = bench.taken([{}])
    bulk = bench.settle(bulk, {1: bench.spoken(bulk, 1, b"one")})
    with lock(bench.client, keys.bulk_lock(bulk.id, "archive")) as held:
        assert held is not None
        with pytest.raises(LockTaken):
            pack(bulk.id, bench.settings)
    assert bench.now(bulk).archive_state is None
    packed(bench, bulk)
    key = bulks.archive_key(bulk.id, 1)
    bench.storage.delete(key)
    pack(bulk.id, bench.settings)
    assert bench.storage.facts(key) is None


def test_what_cannot_be_packed_says_so_and_can_be_asked_for_again(bench: BulkBench) -> None:
    bulk = bench.taken([{}])
    bulk = bench.settle(bulk, {1: bench.spoken(bulk, 1, b"one")})
    key = bulks.results_key(bulk.id, 0, "jsonl")
    line = bench.storage.get(key)
    bench.storage.put(key, b"this is no line", content_type="text/plain")
    pack(bulk.id, bench.settings)
    assert bench.now(bulk).archive_state == "failed"
    bench.storage.put(key, line, content_type="text/plain")
    bench.store.put(bulk.id, archive_state="packing")
    assert len(packed(bench, bulk)) == 1


def test_rows_that_are_tried_again_while_it_is_packed_are_in_the_archive(
    bench: BulkBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = bench.taken([{"id": "a"}, {"id": "b"}])
    bulk = bench.settle(bulk, {1: bench.spoken(bulk, 1, b"one"), 2: failed()})
    put_stream = Storage.put_stream
    once = threading.Event()

    def put_and_retry(storage: Storage, key: str, *arguments: object, **rest: object) -> None:
        put_stream(storage, key, *arguments, **rest)  # type: ignore[arg-type]
        if not once.is_set():
            once.set()
            bench.store.move(bulk.id, bulk.owner, "retry")

    monkeypatch.setattr(Storage, "put_stream", put_and_retry)
    pack(bulk.id, bench.settings)
    now = bench.now(bulk)
    assert (now.state, now.archive_state) == ("running", None)


def test_a_bulk_that_runs_was_refused_or_is_not_there_has_nothing_to_pack(bench: BulkBench) -> None:
    bulk = bench.taken([{}])
    pack(bulk.id, bench.settings)
    pack("bulk_nobody", bench.settings)
    assert bench.now(bulk).archive_state is None


def test_a_reader_gives_what_is_asked_for_and_no_more() -> None:
    reader = Reader([b"abc", b"", b"defgh", b"i"])
    assert [reader.read(2), reader.read(4), reader.read(), reader.read(3)] == [b"ab", b"cdef", b"ghi", b""]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("hello", "hello"),
        ("Grüße 北京", "Grüße 北京"),
        ("../../x", "_.._x"),
        ("a/b\\c:d*e?f", "a_b_c_d_e_f"),
        ("", "_"),
        ("...", "_"),
        ("Con", "_Con"),
        ("com1.wav", "_com1.wav"),
        ("console", "console"),
        ("x" * 500, "x" * 120),
        ("北" * 100, "北" * 40),
        ("\ud800", "_"),
    ],
)
def test_a_part_of_a_name_is_safe(text: str, safe: str) -> None:
    assert safe_part(text) == safe


def test_a_file_name_of_the_client_keeps_its_folders_and_no_way_out() -> None:
    assert audio_name({"row": 1, "id": "a", "format": "mp3", "filename": None}) == "1-a.mp3"
    assert audio_name({"row": 1, "id": "a", "format": "mp3", "filename": "de/a.mp3"}) == "de/a.mp3"
    assert audio_name({"row": 1, "id": "a", "format": "mp3", "filename": "../..//etc\\x"}) == "_/_/etc_x"
    assert audio_name({"row": 1, "id": "a", "format": "mp3", "filename": "a (1), 北&.mp3"}) == "a (1), 北&.mp3"
    assert audio_name({"row": 1, "id": "a", "format": "mp3", "filename": "aux.mp3"}) == "_aux.mp3"
