"""A file of texts on a whole stack: submitted, spoken, packed, joined and fetched from the command line."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import httpx
import pytest
import soundfile

from tests.support.stacks.stack import Stack, eventually

CSV = "id,text,group,pause_ms\n" + "".join(
    f"n{number},Lane {number} is open.,g{number % 2},{100 * number}\n" for number in range(1, 7)
)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


def test_a_file_becomes_audio_an_archive_and_groups(up: Stack, texts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "speech"
    done = up.cli("bulk", str(texts), "--output", str(folder), "--archive", "--name", "lanes", "--json")
    bulk = json.loads(done.stdout)
    assert (bulk["state"], bulk["name"], bulk["counts"]["succeeded"]) == ("succeeded", "lanes", 6)
    assert bulk["download"] == {"fetched": 6, "kept": 0, "failures": []}
    names = sorted(path.name for path in folder.iterdir())
    assert names == [*(f"{number}-n{number}.wav" for number in range(1, 7)), "manifest.csv"]
    lengths_s = {name: soundfile.info(folder / name).duration for name in names[:-1]}
    assert all(0.5 < seconds < 5 for seconds in lengths_s.values())

    def packed() -> httpx.Response | None:
        answer = up.http("GET", f"/v1/bulks/{bulk['id']}/archive.zip", follow_redirects=True)
        return answer if answer.status_code == 200 else None

    archive = eventually(packed)
    assert archive is not None
    with zipfile.ZipFile(io.BytesIO(archive.content)) as found:
        assert sorted(found.namelist()) == sorted([*names, "manifest.jsonl"])
        assert found.read("3-n3.wav") == (folder / "3-n3.wav").read_bytes()

    def joined() -> list[dict[str, object]]:
        groups: list[dict[str, object]] = up.http("GET", f"/v1/bulks/{bulk['id']}/groups").json()["groups"]
        return groups if all(group["state"] == "succeeded" for group in groups) else []

    groups = {group["group"]: group for group in eventually(joined)}
    assert groups["g1"]["audio_s"] == pytest.approx(
        lengths_s["1-n1.wav"] + 0.1 + lengths_s["3-n3.wav"] + 0.3 + lengths_s["5-n5.wav"], abs=0.001
    )
    with up.client() as client:
        row = client.job(f"job_{bulk['id'].removeprefix('bulk_')}_2")
    assert (row["state"], row["bulk"], row["row"]) == ("succeeded", bulk["id"], 2)

    (folder / "2-n2.wav").write_bytes(b"broken")
    (folder / "4-n4.wav").unlink()
    again = json.loads(up.cli("bulk", str(texts), "--output", str(folder), "--json").stdout)
    assert again["counts"]["cached"] == 6
    assert again["download"] == {"fetched": 2, "kept": 4, "failures": []}


def test_a_bad_file_is_refused_with_a_table_and_skipping_speaks_the_rest(
    up: Stack, tmp_path: Path, texts: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("id,text,voice\na,Hello there.,\na,Again.,nobody\n", encoding="utf-8")
    refused = up.cli("bulk", str(bad), check=False)
    assert refused.returncode == 2
    lines = [line.split("\t") for line in refused.stdout.splitlines()]
    assert lines[0] == ["row", "column", "code", "detail"]
    assert {(line[0], line[1], line[2]) for line in lines[1:]} == {
        ("2", "id", "id_duplicate"),
        ("2", "voice", "voice_unknown"),
    }
    assert refused.stderr.startswith("error: row 2, column")

    skipped = up.cli("bulk", str(bad), "--on-error", "skip", "--wait", "--json", check=False)
    assert skipped.returncode == 1
    bulk = json.loads(skipped.stdout)
    assert (bulk["counts"]["succeeded"], bulk["counts"]["failed"]) == (1, 1)
    assert up.cli("bulks", "errors", bulk["id"]).stdout.count("\n") == 3
    manifest = tmp_path / "manifest.jsonl"
    up.cli("bulks", "manifest", bulk["id"], "-o", str(manifest))
    states = [json.loads(line)["state"] for line in manifest.read_text(encoding="utf-8").splitlines()]
    assert states == ["succeeded", "failed"]
    assert up.cli("bulks", "retry", bulk["id"]).stdout == f"{bulk['id']} is running\n"
    shown = up.cli("bulks", "show", bulk["id"], "--wait", "--json")
    assert json.loads(shown.stdout)["retries"] == 1
    dry = json.loads(up.cli("bulk", str(texts), "--dry-run", "--json").stdout)
    assert (dry["state"], dry["counts"]["rows"], dry["counts"]["succeeded"]) == ("succeeded", 6, 0)
    listed = json.loads(up.cli("bulks", "--json").stdout)["bulks"]
    assert {dry["id"], bulk["id"]} <= {one["id"] for one in listed}
    assert up.cli("bulks", "show", "bulk_nobody", check=False).returncode == 4
