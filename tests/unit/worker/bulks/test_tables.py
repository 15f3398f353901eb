"""Files of texts in every encoding, with every delimiter and line end, come in as they were written."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.work.intake import Check, check_path, jsonl, written

ENCODINGS = {
    "utf-8": ("utf-8", b""),
    "utf-8-sig": ("utf-8", codecs.BOM_UTF8),
    "utf-16-le": ("utf-16-le", b""),
    "utf-16-be": ("utf-16-be", b""),
    "utf-16-le-bom": ("utf-16-le", codecs.BOM_UTF16_LE),
    "utf-16-be-bom": ("utf-16-be", codecs.BOM_UTF16_BE),
    "gb18030": ("gb18030", b""),
    "gb18030-bom": ("gb18030", "\ufeff".encode("gb18030")),
}
DELIMITERS = {",": "csv", ";": "csv", "\t": "tsv", "|": "csv"}
ROWS = [
    ["id", "text", "voice", "note"],
    ["a-1", "您好，您的包裹将于星期二到达。", "joe", 'he said "hi"'],
    ["a-2", "One, two; three|four\tfive", "amy", ""],
    ["a-3", "First line\nsecond line", "", "\u3000两行\r\n注释"],
    ["", "欢迎光临", "", "x"],
]


@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"], ids=["crlf", "lf", "cr"])
@pytest.mark.parametrize("delimiter", DELIMITERS, ids=["comma", "semicolon", "tab", "bar"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_come_in_as_they_were_written(check: Check, encoding: str, delimiter: str, newline: str) -> None:
    codec, bom = ENCODINGS[encoding]
    checked = check(bom + written(ROWS, delimiter=delimiter, newline=newline).encode(codec))
    report = checked.good
    assert (report.encoding, report.delimiter, report.format) == (codec, delimiter, DELIMITERS[delimiter])
    assert (report.rows, report.good_rows, report.bad_rows) == (4, 4, 0)
    assert report.columns == ("id", "text", "voice", "note")
    assert report.metadata_columns == ("note",)
    same = {"speed": 1.0, "seed": 0, "format": "wav", "cache": True}
    assert checked.lines == [
        {**same, "row": 1, "text": ROWS[1][1], "voice": "joe", "id": "a-1", "metadata": {"note": 'he said "hi"'}},
        {**same, "row": 2, "text": "One, two; three|four five", "voice": "amy", "id": "a-2"},
        {**same, "row": 3, "text": ROWS[3][1], "voice": "joe", "id": "a-3", "metadata": {"note": "\u3000两行\r\n注释"}},
        {**same, "row": 4, "text": "欢迎光临", "voice": "joe", "metadata": {"note": "x"}},
    ]
    assert checked.errors_csv == [["row", "column", "code", "detail"]]
    assert checked.groups is None


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_lines_come_in_as_they_were_written(check: Check, encoding: str, packed: bool) -> None:
    codec, bom = ENCODINGS[encoding]
    text = '{"text": "您好", "id": 7, "speed": 1.5, "cache": false, "customer": "小明", "paid": true, "sum": 1.5}'
    content = bom + (text + '\n\n{"text":"再见","metadata":{"a":"b","n":null},"voice":null}').encode(codec)
    checked = check(gzip.compress(content) if packed else content)
    report = checked.good
    assert (report.encoding, report.format, report.delimiter) == (codec, "jsonl", None)
    first, second = checked.lines
    assert (first["id"], first["speed"], first["cache"]) == ("7", 1.5, False)
    assert first["metadata"] == {"customer": "小明", "paid": "true", "sum": "1.5"}
    assert (second["row"], second["text"], second["metadata"]) == (2, "再见", {"a": "b"})
    assert report.metadata_columns == ("customer", "paid", "sum", "metadata")


_name = st.text(st.characters(codec="gb18030", categories=["L", "N"]), min_size=1, max_size=10)
_cell = st.text(st.characters(codec="gb18030", exclude_characters="\x00"), max_size=20)


@hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.tuples(_cell, _cell), min_size=1, max_size=20),
    delimiter=st.sampled_from(list(DELIMITERS)),
    encoding=st.sampled_from([name for name in ENCODINGS if name != "gb18030"]),
    newline=st.sampled_from(["\r\n", "\n"]),
    quote=st.booleans(),
    packed=st.booleans(),
)
def test_whatever_a_csv_writer_writes_comes_in_the_same(
    tmp_path: Path,
    cells: list[tuple[str, str]],
    delimiter: str,
    encoding: str,
    newline: str,
    quote: bool,
    packed: bool,
) -> None:
    codec, bom = ENCODINGS[encoding]
    rows = [["text", "one", "other"], *(["Hello", *pair] for pair in cells)]
    content = bom + written(rows, delimiter=delimiter, newline=newline, quote=quote).encode(codec)
    source = tmp_path / "file"
    source.write_bytes(gzip.compress(content) if packed else content)
    checked = check_path(source, errors=tmp_path / "errors.csv", groups=tmp_path / "groups.jsonl")
    assert checked.good.encoding == codec
    got = [line.get("metadata", {}) for line in checked.lines]
    assert [(one.get("one", ""), one.get("other", "")) for one in got] == cells


@pytest.mark.parametrize("seed", range(5))
def test_blocks_may_end_anywhere(check: Check, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """A line end, a letter or a pair of quotes that is cut in two by reading is whole again."""
    rnd = random.Random(seed)
    monkeypatch.setattr("worker.bulks.intake.sources.BLOCK_BYTES", rnd.randint(1, 7))
    monkeypatch.setattr("worker.bulks.intake.sources.SAMPLE_BYTES", 64)
    note = ['a "b"', "漢\r\n字", "𝔄\r", "é\n"]
    rows = [["text", "note"], *(["欢迎光临 𝔄", rnd.choice(note)] for _ in range(30))]
    for (codec, bom), newline in itertools.product(ENCODINGS.values(), ["\r\n", "\n", "\r"]):
        if bom or codec != "gb18030":
            checked = check(bom + written(rows, newline=newline).encode(codec))
            assert [[line["text"], line["metadata"]["note"]] for line in checked.lines] == rows[1:]


def test_a_sep_line_says_what_parts_the_columns(check: Check) -> None:
    for content in ("sep=;\r\ntext;id\r\na,b,c;1\r\n", '"sep=;"\ntext;id\na,b,c;1\n', "\ufeffSEP=;\ntext;id\na,b,c;1"):
        checked = check(content)
        assert (checked.good.delimiter, checked.lines[0]["text"], checked.lines[0]["id"]) == (";", "a,b,c", "1")
    assert check("sep=^\ntext^id\nHi^1\n").lines[0]["id"] == "1"


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("text", ","),
        ("text;a,b;c,d", ";"),
        ('"text";"id";"a, b, c, d"', ";"),
        ("id\ttext\tnote, more, and more", "\t"),
        ("text|id", "|"),
        ('"id","text","x;y;z"', ","),
    ],
)
def test_what_parts_the_columns_is_what_makes_sense_of_the_header(check: Check, header: str, delimiter: str) -> None:
    fields = next(csv.reader([header], delimiter=delimiter))
    row = io.StringIO()
    csv.writer(row, delimiter=delimiter).writerow(["x" for _ in fields])
    assert check(f"{header}\n{row.getvalue()}").good.delimiter == delimiter


def test_blank_lines_and_rows_of_delimiters_are_no_rows(check: Check) -> None:
    checked = check("\n\r\ntext,id,,\r\n\r\nOne,1,,\r\n,,,\r\n   \r\n\nTwo,2,,\r\n,,,,,,,\r\n,,,\r\n")
    assert [(line["row"], line["text"], line["id"]) for line in checked.lines] == [(1, "One", "1"), (2, "Two", "2")]
    assert checked.good.columns == ("text", "id")


def test_a_row_may_lack_or_add_empty_cells_of_columns_without_a_name_only(check: Check) -> None:
    checked = check("text,id,,\nOne,1\nTwo,2,,,,,\nThree,3,x\nFour\nFive,5,,,,y\n,,\n")
    assert checked.named == [(3, "", "row_malformed"), (4, "", "row_malformed"), (5, "", "row_malformed")]
    assert checked.good.rows == 5


def test_a_column_without_a_name_in_the_middle_may_be_empty_only(check: Check) -> None:
    checked = check("id,,text\n1,,One\n2,x,Two\n")
    assert checked.named == [(2, "", "row_malformed")]
    assert "a value in column 2, which has no name" in checked.faults[0].detail


def test_the_last_line_needs_no_end(check: Check) -> None:
    assert check("text\nOne\nTwo").texts == ["One", "Two"]
    assert check('text\n"One\nTwo"').texts == ["One\nTwo"]
    assert check(jsonl({"text": "One"}).strip()).texts == ["One"]


def test_several_gzips_in_one_file_are_one_file(check: Check) -> None:
    packed = b"".join(gzip.compress(line) for line in (b"text\n", b"", b"One\n", b"Two\n")) + b"\x00" * 700_000
    assert check(packed).texts == ["One", "Two"]


def test_a_byte_order_mark_twice_is_part_of_the_first_name(check: Check) -> None:
    assert check("\ufeff\ufefftext\nOne\n").named == [(0, "\ufefftext", "column_unknown")]
