"""``stentor bench`` against a running stack."""

from __future__ import annotations

import json
from pathlib import Path

from stentor.cli import exit_codes
from tests.support.stacks.stack import Stack

PNG = b"\x89PNG\r\n\x1a\n"


def test_bench_works_a_backlog_off_and_leaves_figures_and_plots(up: Stack, tmp_path: Path) -> None:
    done = up.cli("bench", "backlog", "20", "--seed", "4", "--output", str(tmp_path), "--json")
    printed = json.loads(done.stdout)
    assert (printed["scenario"], printed["texts"], printed["failed"], printed["errors"]) == ("backlog", 20, 0, {})
    assert printed["audio_s"] > 20
    assert 0 < printed["batches"] <= 20
    assert 0 < printed["busy_share"] <= 1
    (group,) = printed["groups"]
    stored = group["to_stored"]
    assert stored["count"] == 20
    assert 0 < stored["p50_s"] <= stored["p90_s"] <= stored["p99_s"] <= stored["max_s"] <= printed["wall_s"]
    assert "20 of 20 texts" in done.stderr

    written = json.loads((tmp_path / "backlog.json").read_text(encoding="utf-8"))
    assert written["summary"]["texts"] == len({text["job_id"] for text in written["texts"]}) == 20
    assert len(written["batches"]) == printed["batches"]
    names = [f"backlog-{kind}.png" for kind in ("batches", "busy", "latency")]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == names
    assert all((tmp_path / name).read_bytes().startswith(PNG) for name in names)


def test_bench_says_what_is_wrong_before_it_measures(up: Stack, tmp_path: Path) -> None:
    done = up.cli(
        "bench", "steady", "--rate", "4", "--seconds", "1", "--voice", "nobody", "-o", str(tmp_path), check=False
    )
    assert done.returncode == exit_codes.USAGE
    assert "nobody" in done.stderr


def test_bench_measures_interactive_texts_beside_bulk_ones(up: Stack, tmp_path: Path) -> None:
    done = up.cli("bench", "mixed", "--texts", "15", "--rate", "2", "--seconds", "2", "-o", str(tmp_path))
    lines = [line.split("\t") for line in done.stdout.splitlines() if "POST to" in line]
    assert [(line[0], line[1], line[2]) for line in lines] == [
        ("bulk", "POST to claimed", "15"),
        ("bulk", "POST to stored", "15"),
        ("interactive", "POST to claimed", "4"),
        ("interactive", "POST to stored", "4"),
        ("interactive", "POST to outcome at the client", "4"),
    ]
