"""Rows are checked field by field, compared with the rows before them, and handed on in chunks."""

from __future__ import annotations

import dataclasses
import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stentor.bulks.bulk import CHUNK_ROWS
from stentor.errors import VoicesUnknown
from stentor.voices.voice import Voice
from tests.support.work.intake import Check, jsonl, written
from worker.bulks.intake.check import check_file
from worker.bulks.intake.report import CheckOptions


def one_column(check: Check, column: str, value: str) -> Any:
    """What checking a row gives that has one value besides its text."""
    return check(written([["text", column], ["Hello", value]]))


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("speed", "1.5", 1.5),
        ("speed", " 0.25 ", 0.25),
        ("speed", "4", 4.0),
        ("speed", "+.5", 0.5),
        ("speed", "1e0", 1.0),
        ("seed", "0", 0),
        ("seed", "-0", 0),
        ("seed", "4294967295", 2**32 - 1),
        ("seed", "7.0", 7),
        ("format", "mp3", "mp3"),
        ("sample_rate_hz", "8000", 8000),
        ("sample_rate_hz", "48000.00", 48_000),
        ("cache", "FALSE", False),
        ("cache", "yes", True),
        ("cache", "0", False),
        ("pause_ms", "0", 0),
        ("pause_ms", "60000", 60_000),
        ("voice", " amy ", "amy"),
        ("id", "Kunde 17/ä", "Kunde 17/ä"),
        ("group", "chapter 1", "chapter 1"),
        ("filename", "a/b", "a/b.wav"),
        ("emotion", "", None),
        ("emotion_vector", "", None),
        ("note", "=1+1", None),
    ],
)
def test_a_value_in_its_range_is_taken(check: Check, column: str, value: str, expected: Any) -> None:
    checked = one_column(check, column, value)
    assert checked.named == []
    got = checked.lines[0].get(column)
    assert (got, type(got)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("speed", "1,5", "field_invalid"),
        ("speed", "0.2", "field_invalid"),
        ("speed", "4.01", "field_invalid"),
        ("speed", "-1", "field_invalid"),
        ("speed", "1e999", "field_invalid"),
        ("speed", "nan", "field_invalid"),
        ("speed", "inf", "field_invalid"),
        ("speed", "１", "field_invalid"),
        ("speed", "1_0", "field_invalid"),
        ("speed", "0x1", "field_invalid"),
        ("speed", "fast", "field_invalid"),
        ("speed", "9" * 5000, "field_invalid"),
        ("speed", " ", "field_invalid"),
        ("seed", "4294967296", "field_invalid"),
        ("seed", "-1", "field_invalid"),
        ("seed", "1.5", "field_invalid"),
        ("seed", "1E+03", "field_invalid"),
        ("seed", "٣", "field_invalid"),
        ("seed", "9" * 100_000, "field_invalid"),
        ("format", "WAV", "field_invalid"),
        ("format", "m4a", "field_invalid"),
        ("sample_rate_hz", "7999", "field_invalid"),
        ("sample_rate_hz", "0", "field_invalid"),
        ("sample_rate_hz", "192000", "field_invalid"),
        ("sample_rate_hz", "22.05k", "field_invalid"),
        ("cache", "maybe", "field_invalid"),
        ("pause_ms", "60001", "field_invalid"),
        ("pause_ms", "-1", "field_invalid"),
        ("voice", "nobody", "voice_unknown"),
        ("voice", "clone", "cloning_unsupported"),
        ("voice", "Joe", "voice_unknown"),
        ("voice", "\x00", "voice_unknown"),
        ("id", "x" * 201, "field_invalid"),
        ("id", "a\x00b", "field_invalid"),
        ("id", "a\nb", "field_invalid"),
        ("group", "a/b", "field_invalid"),
        ("group", "..", "filename_unsafe"),
        ("filename", "../../etc/passwd", "filename_unsafe"),
        ("filename", "a.mp3", "filename_unsafe"),
        ("emotion", "joy", "field_invalid"),
        ("emotion_vector", "[0,1]", "field_invalid"),
        ("note", "x" * 513, "field_invalid"),
        ("note", "a\x00b", "field_invalid"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_value_out_of_its_range_is_named_with_row_and_column(
    check: Check, column: str, value: str, code: str
) -> None:
    checked = one_column(check, column, value)
    assert checked.named == [(1, column, code)]
    assert checked.chunks == []
    assert len(checked.faults[0].detail) < 300


def test_a_comma_in_a_number_is_said_to_be_one(check: Check) -> None:
    fault = one_column(check, "speed", "1,5").faults[0]
    assert fault.detail == (
        "The value of speed is '1,5'. Allowed: a number from 0.25 to 4.0. "
        "Write numbers with a point instead of a comma."
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "text_empty"),
        ("\u3000", "text_empty"),
        ("...", "text_unspeakable"),
        ("a\x00b", "text_invalid"),
        ("\x1b[31m", "text_invalid"),
        ("x" * 101, "text_too_long"),
        ("x" * 900_000, "text_too_long"),
    ],
    ids=["empty", "spaces", "dots", "nul", "escape", "long", "very long"],
)
def test_a_text_that_cannot_be_spoken_is_named(check: Check, text: str, code: str) -> None:
    checked = check(written([["text", "id"], [text, "1"], ["Hello", "2"]]), max_text_chars=100)
    assert checked.named == [(1, "text", code)]


def test_all_faults_of_a_row_are_named(check: Check) -> None:
    checked = check("text,voice,speed,seed\n...,nobody,9,x\nHello,joe,1,1\n")
    assert [(row, column) for row, column, _ in checked.named] == [(1, "text"), (1, "voice"), (1, "speed"), (1, "seed")]
    assert (checked.good.rows, checked.good.bad_rows, checked.good.good_rows) == (2, 1, 1)
    assert checked.good.error_counts == {"text_unspeakable": 1, "voice_unknown": 1, "field_invalid": 2}


def test_a_wrong_format_says_nothing_about_the_file_name(check: Check) -> None:
    assert check("text,format,filename\nHello,MP3,a.mp3\n").named == [(1, "format", "field_invalid")]


def test_defaults_fill_what_rows_do_not_say(check: Check) -> None:
    defaults = {"voice": "amy", "speed": 1.5, "seed": 7, "format": "ogg", "sample_rate_hz": 16_000, "cache": False}
    checked = check("text,voice,format,filename\nOne,,,a\nTwo,joe,wav,b\n", defaults=defaults)
    assert checked.lines == [
        {"row": 1, "text": "One", **defaults, "filename": "a.ogg"},
        {"row": 2, "text": "Two", **defaults, "voice": "joe", "format": "wav", "filename": "b.wav"},
    ]
    assert check("text\nOne\n", defaults={"voice": None, "sample_rate_hz": None}).lines[0]["voice"] == "joe"


def test_a_default_voice_that_nobody_has_is_a_fault_of_rows_that_need_it(check: Check) -> None:
    checked = check("text,voice\nOne,\nTwo,joe\n", default_voice="nobody")
    assert checked.named == [(1, "voice", "voice_unknown")]


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"text": 5}, [("text", "field_invalid")]),
        ({"text": "\ud800"}, [("text", "text_invalid")]),
        ({"text": ["a"]}, [("text", "field_invalid")]),
        ({}, [("text", "text_empty")]),
        ({"id": 5}, [("text", "text_empty")]),
        ({"text": None}, [("text", "text_empty")]),
        ({"text": "a", "speed": True}, [("speed", "field_invalid")]),
        ({"text": "a", "speed": 10**400}, [("speed", "field_invalid")]),
        ({"text": "a", "speed": {}}, [("speed", "field_invalid")]),
        ({"text": "a", "seed": 1.5}, [("seed", "field_invalid")]),
        ({"text": "a", "seed": 2**32}, [("seed", "field_invalid")]),
        ({"text": "a", "seed": -1}, [("seed", "field_invalid")]),
        ({"text": "a", "cache": 1}, [("cache", "field_invalid")]),
        ({"text": "a", "format": []}, [("format", "field_invalid")]),
        ({"text": "a", "voice": 5}, [("voice", "field_invalid")]),
        ({"text": "a", "id": 1.5}, [("id", "field_invalid")]),
        ({"text": "a", "id": "\udfff"}, [("id", "field_invalid")]),
        ({"text": "a", "filename": "\ud800"}, [("filename", "filename_unsafe")]),
        ({"text": "a", "filename": 5}, [("filename", "field_invalid")]),
        ({"text": "a", "voise": "joe"}, [("voise", "column_unknown")]),
        ({"text": "a", "emotion": {"joy": 1}}, [("emotion", "field_invalid")]),
        ({"text": "a", "note": {"b": 1}}, [("note", "field_invalid")]),
        ({"text": "a", "note": "\ud800"}, [("note", "field_invalid")]),
        ({"text": "a", "note": 10**50}, [("note", "field_invalid")]),
        ({"text": "a", "\ud800": "b"}, [("\\ud800", "column_invalid")]),
        ({"text": "a", "": "b"}, [("", "field_invalid")]),
        ({"text": "a", "x" * 1000: "b"}, [("x" * 64, "column_invalid")]),
        ({"text": "a", "metadata": 5}, [("metadata", "field_invalid")]),
        ({"text": "a", "metadata": {"n": []}}, [("metadata", "field_invalid")]),
        ({"text": "a", "metadata": {"n": "1"}, "n": "2"}, [("n", "field_invalid")]),
        ({"text": "a", "metadata": {"": "1"}}, [("metadata", "field_invalid")]),
        ({"text": "a", "metadata": {"\ud800": "1"}}, [("metadata", "field_invalid")]),
        ({"text": "a", **{f"m{at}": "" for at in range(99)}}, []),
        ({"text": "a", **{f"m{at}": "x" for at in range(17)}}, [("metadata", "field_invalid")]),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_row_of_json_is_checked_by_type_and_range(
    check: Check, row: dict[str, Any], named: Sequence[tuple[str, str]]
) -> None:
    checked = check(jsonl(row, {"text": "Hello"}), on_error="skip")
    assert checked.named == [(1, *one) for one in named]
    assert checked.lines[1]["text"] == "Hello"
    assert ("error" in checked.lines[0]) == bool(named)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "Expecting property name"),
        ('{"text": "a"} {"text": "b"}', "Extra data at character 15"),
        ('{"text": "a"},', "Extra data"),
        ("[]", "is a list. Write an object"),
        ('"a"', "is a text"),
        ("5", "is a number"),
        ("null", "is null"),
        ("true", "is a truth value"),
        ('{"text": "a", "text": "b"}', "'text' twice"),
        ('{"text": "a", "metadata": {"b": 1, "b": 2}}', "'b' twice"),
        ('{"text": "a", "speed": NaN}', "NaN is no number"),
        ('{"text": "a", "speed": -Infinity}', "-Infinity is no number"),
        ('{"text": "a", "seed": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ('{"text": ' + "[" * 100_000, "nested too deeply"),
        ("{'text': 'a'}", "Expecting property name"),
        ('{"text": "a\tb"}', "Invalid control character"),
        ('{"text": "\\x41"}', "Invalid \\\\escape"),
        ("text", "Expecting value"),
        ("{" + ",".join(f'"k{at}":1' for at in range(50_000)) + ',"k7":1}', "'k7' twice"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_line_that_is_no_json_object_is_a_malformed_row(check: Check, line: str, says: str) -> None:
    checked = check(f'{{"text": "One"}}\n{line}\n{{"text": "Three"}}\n')
    assert checked.named == [(2, "", "row_malformed")]
    assert says in checked.faults[0].detail.replace("\\escape", "\\\\escape")
    assert checked.good.rows == 3


def test_a_number_that_is_too_large_for_json_is_no_number(check: Check) -> None:
    assert check('{"text": "a", "speed": 1e999, "note": -1e999}').named == [
        (1, "speed", "field_invalid"),
        (1, "note", "field_invalid"),
    ]


def test_an_id_that_an_earlier_row_has_is_named_with_that_row_across_chunks(check: Check) -> None:
    rows = [["text", "id"], *(["Hello", f"id-{row}"] for row in range(1, 2501))]
    rows[1700][1], rows[2500][1], rows[1701][1] = "id-3", "id-1699", "ID-3"
    checked = check(written(rows))
    assert checked.named == [(1700, "id", "id_duplicate"), (2500, "id", "id_duplicate")]
    assert checked.faults[0].detail == "Row 3 already has the id 'id-3'. Use each once."
    assert checked.faults[1].detail == "Row 1699 already has the id 'id-1699'. Use each once."


def test_file_names_are_compared_as_they_will_be_and_without_case(check: Check) -> None:
    checked = check(
        "text,filename\nOne,a/B.wav\nTwo,A/b\nThree,stra\u00dfe\nFour,STRASSE\nFive,cafe\u0301\nSix,caf\u00e9\nSeven,c\n"
    )
    assert checked.named == [(row, "filename", "filename_duplicate") for row in (2, 4, 6)]
    assert checked.faults[0].detail.startswith("Row 1 already has the filename 'A/b.wav', upper and lower case aside")


def test_a_bad_row_keeps_its_id(check: Check) -> None:
    checked = check("text,id\n...,1\nTwo,1\n", on_error="skip")
    assert checked.named == [(1, "text", "text_unspeakable"), (2, "id", "id_duplicate")]
    assert [line.get("id") for line in checked.lines] == ["1", None]


def test_chunks_have_a_thousand_rows_and_are_the_same_each_time(check: Check) -> None:
    content = written([["text"], *([f"Row {row}"] for row in range(1, 2502))])
    checked, again = check(content), check(content)
    assert [gzip.decompress(chunk).count(b"\n") for chunk in checked.chunks] == [CHUNK_ROWS, CHUNK_ROWS, 501]
    assert [line["row"] for line in checked.lines] == list(range(1, 2502))
    assert checked.chunks == again.chunks
    assert checked.progress == [1000, 2000, 2501]
    assert checked.good.chunks == 3


def test_a_refused_file_hands_on_no_chunk_after_its_first_fault_and_is_checked_to_its_end(check: Check) -> None:
    rows = [["text"], *([f"Row {row}"] for row in range(1, 5001))]
    rows[1500][0] = rows[5000][0] = "..."
    checked = check(written(rows))
    assert len(checked.chunks) == checked.good.chunks == 1
    assert checked.named == [(1500, "text", "text_unspeakable"), (5000, "text", "text_unspeakable")]
    assert [row[:3] for row in checked.errors_csv[1:]] == [
        ["1500", "text", "text_unspeakable"],
        ["5000", "text", "text_unspeakable"],
    ]


def test_a_file_whose_bad_rows_are_skipped_hands_all_rows_on_bad_ones_with_their_error(check: Check) -> None:
    checked = check("text,id,speed,filename,note\n...,a,9,x,n\nTwo,b,2,y,m\nThree\n", on_error="skip")
    bad, good, malformed = checked.lines
    filled = {"voice": "joe", "speed": 1.0, "seed": 0, "format": "wav", "cache": True}
    assert bad == {
        "row": 1,
        **filled,
        "id": "a",
        "filename": "x.wav",
        "metadata": {"note": "n"},
        "error": {"code": "text_unspeakable", "detail": checked.faults[0].detail},
    }
    assert (good["row"], good["speed"], good["filename"], "error" in good) == (2, 2.0, "y.wav", False)
    assert malformed["error"]["code"] == "row_malformed"
    assert (checked.good.good_rows, checked.good.bad_rows, checked.good.chunks) == (1, 2, 1)


def test_the_report_counts_the_rows_that_are_good(check: Check) -> None:
    checked = check(
        "text,voice,speed\nabcde fghij,amy,2\n  abc   def  ,mine,\n...,joe,\nabc,amy,0.5\n", on_error="skip"
    )
    report = checked.good
    assert report.chars == 11 + 7 + 3
    assert report.estimated_audio_s == round(11 / 30 + 7 / 15 + 3 / 7.5, 1)
    assert report.voices == {"amy": 2, "mine": 1}
    assert report.recordings == ("rec_1",)
    assert not report.groups


def test_a_hundred_faults_are_named_and_all_are_in_the_csv(check: Check) -> None:
    checked = check(written([["text"], *(["..."] for _ in range(1234))]))
    assert [fault.row for fault in checked.faults] == list(range(1, 101))
    assert len(checked.errors_csv) == 1 + 1234
    assert checked.good.error_counts == {"text_unspeakable": 1234}


def test_the_csv_of_faults_ends_somewhere_and_counting_goes_on(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.bulks.intake.writing.MOST_FAULTS", 10)
    checked = check(written([["text"], *(["..."] for _ in range(30))]))
    assert len(checked.errors_csv) == 1 + 10
    assert checked.good.bad_rows == 30


def test_the_csv_of_faults_runs_no_formula(check: Check) -> None:
    checked = check(jsonl({"text": "a", "=cmd|' /C calc'!A0" + "x" * 60: "b"}))
    assert checked.errors_csv[1][1].startswith("'=cmd|")


def test_groups_are_listed_in_the_order_of_their_first_rows(check: Check) -> None:
    rows = [["text", "group", "format", "pause_ms"]]
    rows += [["Hello", ["zeta", "alpha", ""][row % 3], "mp3" if row % 3 == 1 else "", "300"] for row in range(2500)]
    checked = check(written(rows))
    assert checked.good.groups
    assert checked.groups == [
        {"group": "zeta", "rows": 834, "first_row": 1, "last_row": 2500, "format": "wav"},
        {"group": "alpha", "rows": 833, "first_row": 2, "last_row": 2498, "format": "mp3"},
    ]
    assert checked.lines[0]["pause_ms"] == 300


def test_rows_of_a_group_have_one_format_and_one_spelling(check: Check) -> None:
    checked = check("text,group,format\na,one,\nb,two,mp3\nc,One,\nd,two,wav\ne,one,wav\n", on_error="skip")
    assert checked.named == [(3, "group", "field_invalid"), (4, "format", "field_invalid")]
    assert "row 1 has it as 'one'" in checked.faults[0].detail
    assert checked.groups == [
        {"group": "one", "rows": 2, "first_row": 1, "last_row": 5, "format": "wav"},
        {"group": "two", "rows": 2, "first_row": 2, "last_row": 4, "format": "mp3"},
    ]
    assert [line.get("group") for line in checked.lines] == ["one", "two", None, "two", "one"]


def test_a_bad_row_counts_in_its_group_and_does_not_choose_its_format(check: Check) -> None:
    checked = check("text,group,format\n...,one,MP3\nb,one,ogg\n...,two,\n", on_error="skip")
    assert checked.groups == [
        {"group": "one", "rows": 2, "first_row": 1, "last_row": 2, "format": "ogg"},
        {"group": "two", "rows": 1, "first_row": 3, "last_row": 3, "format": "wav"},
    ]


def test_voices_are_asked_for_once_and_that_nobody_knows_them_is_not_the_files_fault(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text(written([["text", "voice"], *(["Hello", ["joe", "amy", "no"][row % 3]] for row in range(3000))]))
    asked: list[str] = []

    def voice_of(name: str) -> Voice:
        asked.append(name)
        raise VoicesUnknown("no worker has registered a voice yet")

    def check(voices: Any) -> Any:
        return check_file(
            source,
            CheckOptions(default_voice="joe"),
            voices=voices,
            write_chunk=lambda number, body: None,
            errors_path=tmp_path / "errors.csv",
            groups_path=tmp_path / "groups.jsonl",
        )

    with pytest.raises(VoicesUnknown):
        check(voice_of)
    assert asked == ["joe"]


def test_the_intake_starts_without_numerics() -> None:
    script = "import worker.bulks.intake.check, sys; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[4], timeout=60)


def test_the_report_can_be_json(check: Check) -> None:
    report = json.loads(json.dumps(dataclasses.asdict(check("text\n...\n").good)))
    assert report["errors"] == [
        {
            "row": 1,
            "column": "text",
            "code": "text_unspeakable",
            "detail": "The text has 3 characters, but no letter and no number; at least one is required.",
        }
    ]
