"""Names of columns: a slip of a known name is told from an honest name of the client's own."""

from __future__ import annotations

import pytest

from stentor.errors import ColumnUnknown
from worker.bulks.intake.columns import KNOWN, check_header, is_known, name_fault, slip_of


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Text", "text"),
        ("TEXT", "text"),
        (" text", "text"),
        ("Text ", "text"),
        ("\u00a0text", "text"),
        ("ｔｅｘｔ", "text"),
        ("txt", "text"),
        ("tetx", "text"),
        ("texts", "text"),
        ("textt", "text"),
        ("voise", "voice"),
        ("Voice", "voice"),
        ("voices", "voice"),
        ("vocie", "voice"),
        ("ID", "id"),
        ("Id", "id"),
        ("i_d", "id"),
        ("file_name", "filename"),
        ("File Name", "filename"),
        ("file-name", "filename"),
        ("fielname", "filename"),
        ("fillename", "filename"),
        ("sample_rate", "sample_rate_hz"),
        ("samplerate", "sample_rate_hz"),
        ("Sample Rate Hz", "sample_rate_hz"),
        ("sample_rate_khz", "sample_rate_hz"),
        ("pause", "pause_ms"),
        ("pausems", "pause_ms"),
        ("pause_s", "pause_ms"),
        ("sped", None),
        ("spped", "speed"),
        ("Seed", "seed"),
        ("fromat", "format"),
        ("groups", "group"),
        ("Cache", "cache"),
        ("Emotion", "emotion"),
        ("emotoin", "emotion"),
    ],
)
def test_a_slip_of_a_known_name_is_seen(name: str, meant: str | None) -> None:
    assert slip_of(name) == meant


@pytest.mark.parametrize(
    "name",
    [
        "note",
        "title",
        "tex_id",
        "text_id",
        "customer",
        "comment",
        "next",
        "test",
        "need",
        "state",
        "row",
        "cached",
        "language",
        "lang",
        "order_id",
        "audio_key",
        "audio_url",
        "sha256",
        "error_code",
        "attempts",
        "quality",
        "settled_at",
        "job_id",
        "name",
        "file",
        "path",
        "url",
        "key",
        "date",
        "time",
        "price",
        "context",
        "content",
        "sentence",
        "speaker",
        "model",
        "style",
        "tags",
        "campaign",
        "文本",
        "Überschrift",
        "ids",
        "idx",
        "e-mail",
        "phone",
        "region",
    ],
)
def test_an_honest_name_passes(name: str) -> None:
    assert slip_of(name) is None
    assert name_fault(name) is None
    assert not is_known(name)


@pytest.mark.parametrize("name", [*KNOWN, "emotion", "emotion_vector", "emotion.joy"])
def test_known_names_are_no_slips_of_each_other(name: str) -> None:
    assert name_fault(name) is None
    assert is_known(name)


def test_everything_that_is_wrong_with_a_header_is_named() -> None:
    faults = check_header(["voise", "id", "id", "x" * 65, "a\x07b", ""])
    assert [(name, error.code) for name, error in faults] == [
        ("voise", "column_unknown"),
        ("id", "column_duplicate"),
        ("x" * 65, "column_invalid"),
        ("a\x07b", "column_invalid"),
        ("text", "column_missing"),
    ]


def test_a_slip_of_text_is_not_missed_besides() -> None:
    faults = check_header(["Text ", "id"])
    assert [type(error) for _, error in faults] == [ColumnUnknown]
    assert faults[0][1].detail == "there is no column 'Text '; did you mean 'text'?"


def test_sixteen_columns_of_metadata_pass_and_seventeen_do_not() -> None:
    assert check_header(["text", "emotion", *(f"m{at}" for at in range(16))]) == []
    ((column, error),) = check_header(["text", *(f"m{at}" for at in range(17))])
    assert (column, error.code) == ("", "column_invalid")
    assert "has 17 columns that are kept as metadata" in error.detail


def test_a_header_of_thirty_thousand_names_takes_no_time() -> None:
    faults = check_header([f"x{at}" for at in range(30_000)])
    assert len(faults) == 2
