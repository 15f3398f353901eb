"""Files that are sent as texts and are something else, broken, or meant to do harm: each ends in a named error."""

from __future__ import annotations

import dataclasses
import gzip
import io
import itertools
import random
import struct
import tracemalloc
import wave
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.work.intake import Check, check_path, jsonl, written


@dataclasses.dataclass(frozen=True)
class Case:
    """A file, and what is said of it."""

    name: str
    make: Callable[[], bytes | str]
    code: str
    #: What the sentence says.
    says: str = ""
    row: int = 0
    column: str = ""


def zipped(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "text\nHello\n")
    return packed.getvalue()


def spoken() -> bytes:
    audio = io.BytesIO()
    with wave.open(audio, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22_050)
        file.writeframes(b"\x01\x02" * 1000)
    return audio.getvalue()


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def png() -> bytes:
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 1, 1) + noise(100)


def bomb(block: bytes, times: int) -> bytes:
    """Gzip of a block over and over, at a thousandth of its size. The sum at its end is wrong; nobody gets there."""
    deflate = zlib.compressobj(9, wbits=-15)
    packed = deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)
    return gzip.compress(b"")[:10] + packed * times + deflate.flush() + bytes(8)


ROWS = "".join(f"Row {row} is good,{row}\n" for row in range(1, 3001))
GOOD = f"text,id\n{ROWS}".encode()
CHINESE = "text,id\n" + "".join(f"您好，您的包裹将于星期二到达。,{row}\n" for row in range(1, 3001))
GREEK = "text,id\nΚαλημέρα σας. Το δέμα σας φτάνει την Τρίτη.,1\n"

CASES = [
    # --- nothing in it
    Case("no bytes", lambda: b"", "file_empty", "The file is empty"),
    Case("gzip of no bytes", lambda: gzip.compress(b""), "file_empty", "The file is empty"),
    Case("blank lines", lambda: "\r\n\n   \r\n", "file_empty", "only blank lines"),
    Case("a mark and nothing", lambda: "\ufeff", "file_empty", "only blank lines"),
    Case("a utf-16 mark and nothing", lambda: b"\xff\xfe", "file_empty", "only blank lines"),
    Case("only a header", lambda: "text,id\r\n", "file_empty", "no rows"),
    Case("a header and empty rows", lambda: "text,id\r\n,\r\n,\r\n", "file_empty", "no rows"),
    Case("only a sep line", lambda: "sep=;\r\n", "file_empty", "only blank lines"),
    # --- something else
    Case(
        "a zip",
        lambda: zipped("texts.csv"),
        "file_unreadable",
        "ZIP archive, as Excel workbooks (.xlsx) are; save it as CSV",
    ),
    Case("an xlsx", lambda: zipped("[Content_Types].xml", "xl/workbook.xml"), "file_unreadable", "save it as CSV"),
    Case("an xls", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + noise(600), "file_unreadable", "(.xls)"),
    Case("a zip in gzip", lambda: gzip.compress(zipped("texts.csv")), "file_unreadable", "ZIP archive"),
    Case("a page", lambda: "<!DOCTYPE html><html><p>text,id</p></html>", "file_unreadable", "a page or XML"),
    Case("a page in utf-16", lambda: "\ufeff\n <html>text".encode("utf-16-le"), "file_unreadable", "a page or XML"),
    Case("xml", lambda: '<?xml version="1.0"?><rows/>', "file_unreadable", "a page or XML"),
    Case("a json array", lambda: '[{"text": "a"}]', "file_unreadable", "JSON array. Send JSON Lines"),
    Case("a pdf", lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + noise(500), "file_unreadable", "a PDF"),
    Case("rich text", lambda: r"{\rtf1\ansi text}", "file_unreadable", "RTF"),
    Case("a wav", spoken, "file_unreadable", "audio (WAV)"),
    Case("an ogg", lambda: b"OggS\x00\x02" + noise(500), "file_unreadable", "audio"),
    Case("an mp3", lambda: b"ID3\x04\x00\x00" + noise(500), "file_unreadable", "audio"),
    Case("a png", png, "file_unreadable", "an image"),
    Case("a jpeg", lambda: b"\xff\xd8\xff\xe0" + noise(500), "file_unreadable", "an image"),
    Case("bzip2", lambda: b"BZh91AY&SY" + noise(500), "file_unreadable", "other than gzip"),
    Case("zstd", lambda: b"\x28\xb5\x2f\xfd" + noise(500), "file_unreadable", "other than gzip"),
    Case("sqlite", lambda: b"SQLite format 3\x00" + bytes(1000), "file_unreadable", "binary"),
    Case("zeros", lambda: bytes(5000), "file_unreadable", "binary"),
    Case("noise", lambda: noise(5000), "file_unreadable", "binary"),
    # --- broken or packed to do harm
    Case("gzip cut off", lambda: gzip.compress(noise(50_000).hex().encode())[:20_000], "file_unreadable", "cut off"),
    Case("gzip cut in its header", lambda: b"\x1f\x8b\x08\x08", "file_unreadable", "cut off"),
    Case("gzip with a wrong sum", lambda: gzip.compress(GOOD)[:-8] + bytes(8), "file_unreadable", "data check"),
    Case("gzip and something behind", lambda: gzip.compress(GOOD) + b"tail", "file_unreadable", "header"),
    Case("no gzip behind the magic", lambda: b"\x1f\x8b" + noise(100), "file_unreadable", "breaks after 0"),
    Case(
        "gzip in gzip", lambda: gzip.compress(gzip.compress(GOOD)), "file_unreadable", "gzip within gzip; pack it once"
    ),
    Case("a bomb of zeros", lambda: bomb(bytes(2**20), 10_000), "file_unreadable", "binary"),
    Case("a bomb of letters", lambda: bomb(b"a" * 2**20, 1000), "row_malformed", "the header goes on"),
    Case("a bomb of line ends", lambda: bomb(b"\n" * 2**20, 1000), "row_malformed", "1048577 blank rows"),
    Case(
        "a bomb of blank rows",
        lambda: bomb(b"text,id\n" + b",\n" * (2**20 + 10), 2),
        "row_malformed",
        "1048579 blank rows",
        row=1,
    ),
    Case(
        "a bomb of blank lines of json",
        lambda: bomb(b'{"text": "a"}\n' + b"\n" * 2**20, 2),
        "row_malformed",
        "blank rows",
        row=3,
    ),
    Case(
        "rows that unpack to too much",
        lambda: bomb(b"text,id\n" + b"Hello " * 1000 + b"\n", 10_000),
        "file_too_large",
        "unpacks to more than 20000000 bytes",
        row=6631,
    ),
    Case(
        "a bomb of rows",
        lambda: gzip.compress(b"text\n") + bomb(b"Hello\n" * 2**18, 10),
        "too_many_rows",
        "more than 20000 rows",
        row=20_001,
    ),
    Case(
        "a bomb of members",
        lambda: gzip.compress(b"text\n") + gzip.compress(b"") * 70_000,
        "file_unreadable",
        "65536 members",
    ),
    Case("too many bytes", lambda: GOOD + b"x" * 20_000_000, "file_too_large", "at most 20000000 are allowed"),
    # --- encodings
    Case("utf-32", lambda: GOOD.decode().encode("utf-32"), "file_encoding", "UTF-32"),
    Case(
        "latin-1",
        lambda: "text\nHello\nSchöne Grüße aus Köln\n".encode("latin-1"),
        "file_encoding",
        "0xF6, which is no UTF-8 there",
        row=2,
    ),
    Case(
        "latin-1 umlaut before a letter",
        lambda: "text,id\nMüller,1\n".encode("latin-1"),
        "file_encoding",
        "0xFC",
        row=1,
    ),
    Case(
        "big5", lambda: "text\n您好，您的包裹將於星期二到達，請簽收。\n".encode("big5"), "file_encoding", "UTF-8", row=1
    ),
    Case(
        "shift-jis",
        lambda: "text\nこんにちは、荷物は火曜日に届きます。\n".encode("shift-jis"),
        "file_encoding",
        "UTF-8",
        row=1,
    ),
    Case(
        "euc-kr",
        lambda: ("text\n" + "안녕하세요 소포는 화요일에 도착합니다 문을 열어 주세요\n" * 2).encode("euc-kr"),
        "file_encoding",
        "UTF-8",
        row=1,
    ),
    Case(
        "koi8-r",
        lambda: "text\nЗдравствуйте, ваша посылка прибудет\n".encode("koi8-r"),
        "file_encoding",
        "UTF-8",
        row=1,
    ),
    Case("iso-8859-7", lambda: GREEK.encode("iso-8859-7"), "file_encoding", "UTF-8", row=1),
    Case(
        "utf-8 that breaks late",
        lambda: GOOD + "é".encode() * 600_000 + b",1\nx\xff,2\n",
        "file_encoding",
        f"byte {len(GOOD) + 1_200_004} of the file",
        row=3002,
    ),
    Case(
        "utf-8 that breaks early",
        lambda: CHINESE.encode()[:1000] + b"\xff" + CHINESE.encode()[1000:],
        "file_encoding",
        "byte 1000 of the file",
        row=21,
    ),
    Case(
        "utf-8 with gb18030 behind",
        lambda: (CHINESE * 8).encode() + CHINESE.encode("gb18030"),
        "file_encoding",
        "UTF-8",
        row=24_009,
    ),
    Case(
        "utf-8 cut within a letter",
        lambda: CHINESE.encode() + "漢".encode()[:2],
        "file_encoding",
        "unexpected end of data",
        row=3001,
    ),
    Case(
        "gb18030 that breaks late",
        lambda: (CHINESE * 12).encode("gb18030") + b"\xff\xff\n",
        "file_encoding",
        "GB18030",
        row=36_012,
    ),
    Case(
        "gb18030 behind a mark that breaks",
        lambda: "\ufefftext\n好\n".encode("gb18030") + b"\x81\x20\n",
        "file_encoding",
        "GB18030",
        row=2,
    ),
    Case("utf-16 of odd length", lambda: CHINESE.encode("utf-16-le") + b"x", "file_encoding", "UTF-16-LE", row=3001),
    Case(
        "utf-16 with half a pair",
        lambda: "\ufefftext\nok\n".encode("utf-16-be") + b"\xd8\x00\x00x",
        "file_encoding",
        "UTF-16-BE",
        row=2,
    ),
    Case("utf-8 with half a pair", lambda: b"text\nok\n\xed\xa0\x80\n", "file_encoding", "0xED", row=2),
    Case("utf-8 of too many bytes", lambda: b"text\nok\n\xc0\x80\n", "file_encoding", "0xC0", row=2),
    # --- headers
    Case(
        "no header",
        lambda: "Hello there.,1\nHow are you?,2\n",
        "column_missing",
        "the first line has 'Hello there.', '1'. If that is a row",
        column="text",
    ),
    Case(
        "no text column",
        lambda: "id,title\n1,Hello\n",
        "column_missing",
        "the first line has 'id', 'title'",
        column="text",
    ),
    Case("a slip", lambda: "text,voise\na,b\n", "column_unknown", "did you mean 'voice'?", column="voise"),
    Case("a capital", lambda: "Text\na\n", "column_unknown", "did you mean 'text'?", column="Text"),
    Case("a space behind", lambda: "text ;id\na;1\n", "column_unknown", "did you mean 'text'?", column="text "),
    Case("one column twice", lambda: "text,id,text\na,1,b\n", "column_duplicate", "twice, again at 3", column="text"),
    Case("metadata twice", lambda: "text,n,n\na,1,b\n", "column_duplicate", "'n' occurs twice", column="n"),
    Case(
        "17 columns of metadata",
        lambda: "text," + ",".join(f"m{at}" for at in range(17)) + "\n",
        "column_invalid",
        "17 columns",
    ),
    Case("a long name", lambda: f"text,{'n' * 65}\n", "column_invalid", "65 characters", column="n" * 64),
    Case(
        "nul in a name",
        lambda: "text,a\x00b\n" + "Hello,1\n" * 9,
        "column_invalid",
        "control character",
        column="a\x00b",
    ),
    Case("only delimiters", lambda: ";;;;\n", "column_missing", "no column is named 'text'", column="text"),
    Case(
        "5 MB of header",
        lambda: "text," + ",".join(f"name{at}" for at in range(500_000)),
        "row_malformed",
        "the header",
    ),
    Case("5 MB of header that is a name", lambda: "x" * 5_000_000 + "\nHello\n", "row_malformed", "the header"),
    Case(
        "a header of 60 kB", lambda: ",".join(f"n{at}" for at in range(9000)) + "\n", "column_invalid", "9000 columns"
    ),
    Case(
        "a quote that never ends in the header",
        lambda: '"text\n' + "Hello\n" * 100_000,
        "row_malformed",
        "the header goes on",
    ),
    Case(
        "a quote within quotes in the header",
        lambda: '"te"xt",id\nHello,1\n',
        "row_malformed",
        "the header cannot be read",
    ),
    # --- rows that are none
    Case(
        "64 MB without a line end", lambda: b"text\nok\n" + b"a" * 15_000_000, "row_malformed", "row 2 goes on", row=2
    ),
    Case(
        "a field of 10 MB",
        lambda: 'text,id\nok,1\n"' + "a\n" * 5_000_000 + '",2\n',
        "row_malformed",
        "row 2 goes on",
        row=2,
    ),
    Case(
        "a row of a million fields", lambda: "text\nok\n" + '"\n",' * 1_000_000, "row_malformed", "row 2 goes on", row=2
    ),
    Case(
        "a quote that never ends",
        lambda: 'text\nok\n"Hello\n' + "Hello\n" * 1_000_000,
        "row_malformed",
        "an even number of quotes",
        row=2,
    ),
    Case(
        "json without a line end",
        lambda: '{"text": "ok"}\n{"text": "' + "a" * 10_000_000,
        "row_malformed",
        "row 2 goes on",
        row=2,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_that_cannot_be_read_is_refused_by_name(check: Check, case: Case) -> None:
    checked = check(case.make(), max_bytes=20_000_000, max_rows=20_000 if "bomb" in case.name else 100_000)
    error = checked.error
    assert error is not None, "it was taken"
    assert (error.code, error.row, error.column) == (case.code, case.row, case.column)
    assert case.says in error.detail
    assert len(error.detail) < 700
    assert checked.named[-1] == (case.row, case.column, case.code) or case.row == 0
    assert [row[2] for row in checked.errors_csv[1:]][-1] == checked.named[-1][2]
    error.detail.encode()


ROWS_REFUSED = [
    (
        "a quote that does not end in a small file",
        'text,id\nok,1\n"Hello,2\n',
        [(2, "", "row_malformed")],
        "a quote opens that does not end",
    ),
    (
        "a quote that is not doubled",
        'text,id\n"He said "hi" to me",1\nok,2\n',
        [(1, "", "row_malformed")],
        "not doubled",
    ),
    ("something behind quotes", 'text,id\n"Hello" ,1\nok,2\n', [(1, "", "row_malformed")], "not doubled"),
    ("too many fields", "text,id\nHello, there,1\nok,2\n", [(1, "", "row_malformed")], "3 fields. The header has 2"),
    ("too few fields", "text,id,note\nHello,1\n", [(1, "", "row_malformed")], "2 fields. The header has 3"),
    ("another delimiter below", "text;id\nHello,1\n", [(1, "", "row_malformed")], "1 fields. The header has 2"),
    ("nul in a text", "text,id\nHe\x00llo there,1\n", [(1, "text", "text_invalid")], "U+0000"),
    ("nul in an id", "text,id\nHello there,1\x002\n", [(1, "id", "field_invalid")], "U+0000"),
    (
        "a formula for a file name",
        'text,filename\nHello,"=HYPERLINK(""http://x"")"\n',
        [(1, "filename", "filename_unsafe")],
        "has a '",
    ),
    ("html in a file name", "text,filename\nHello,<img src=x>\n", [(1, "filename", "filename_unsafe")], "'<'"),
    ("a path out", "text,filename\nHello,../../x\n", [(1, "filename", "filename_unsafe")], "'..'"),
    ("a path that is encoded", "text,filename\nHello,..%2f..\\x\n", [(1, "filename", "filename_unsafe")], "\\\\"),
    ("a group out", "text,group\nHello,..\n", [(1, "group", "filename_unsafe")], "'..'"),
    (
        "numbers of all kinds",
        "text,speed\na,1e999\nb,NaN\nc,-0\nd,１\ne,1;5\n",
        [(row, "speed", "field_invalid") for row in range(1, 6)],
        "",
    ),
    ("a seed of 33 bits", "text,seed\na,4294967296\n", [(1, "seed", "field_invalid")], "4294967295"),
]


@pytest.mark.parametrize(("name", "content", "named", "says"), ROWS_REFUSED, ids=[case[0] for case in ROWS_REFUSED])
def test_a_row_that_cannot_be_spoken_is_named(
    check: Check, name: str, content: str, named: list[tuple[int, str, str]], says: str
) -> None:
    checked = check(content)
    assert checked.named == named
    assert says in checked.faults[0].detail


def test_a_formula_is_a_text_like_any_other_and_comes_out_harmless(check: Check) -> None:
    checked = check('text,id,voice\n"=cmd|\' /C calc\'!A0",=1+1,"=HYPERLINK(1)"\n', on_error="skip")
    assert checked.lines[0]["text"] == "=cmd|' /C calc'!A0"
    assert checked.lines[0]["id"] == "=1+1"
    assert checked.named == [(1, "voice", "voice_unknown")]


def test_rows_before_a_wrong_byte_are_checked(check: Check) -> None:
    content = b"text\n" + b"ok\n" * 1500 + b"...\nok\n\xff\nok\n"
    checked = check(content)
    assert checked.error is not None
    assert checked.named == [(1501, "text", "text_unspeakable"), (1503, "", "file_encoding")]
    assert [row[0] for row in checked.errors_csv[1:]] == ["1501", "1503"]
    assert len(checked.chunks) == 1


def test_a_fault_of_the_file_is_among_the_hundred_that_are_named(check: Check) -> None:
    checked = check(b"text\n" + b"...\n" * 500 + b"\xff\n")
    assert len(checked.faults) == 100
    assert checked.named[98:] == [(99, "text", "text_unspeakable"), (501, "", "file_encoding")]
    assert len(checked.errors_csv) == 1 + 501


def test_all_faults_of_a_header_are_named(check: Check) -> None:
    checked = check("voise,id,id\na,1,2\n")
    assert checked.named == [
        (0, "voise", "column_unknown"),
        (0, "id", "column_duplicate"),
        (0, "text", "column_missing"),
    ]
    assert checked.error is not None
    assert checked.error.code == "column_unknown"


@pytest.mark.parametrize(
    "text",
    [
        "您好，您的包裹将于星期二到达。",
        "好",
        "欢迎光临！“今天”天气很好……是的——",
        "客户小明，您好！订单AB-17已发货，预计3天内送达。" * 20,
        "您好，您的包裹將於星期二到達，請簽收。",
    ],
)
def test_gb18030_is_known_for_what_it_is(check: Check, text: str) -> None:
    checked = check(written([["id", "text"], ["1", text]]).encode("gb18030"))
    assert (checked.good.encoding, checked.texts) == ("gb18030", [text])


def test_nothing_that_a_row_says_is_remembered_or_told_at_length(tmp_path: Path) -> None:
    """What is remembered between rows, and what faults say of them, has to be short: there are many rows."""
    long = "x" * 300_000
    wide = " " * 300_000
    rows = [
        {"text": "a", "voice": f"{long}{row}", "speed": f"{row / 1000 + 1}{wide}", f"{row}{long}": "b"}
        for row in range(80)
    ]
    path = tmp_path / "long.jsonl"
    path.write_text(jsonl(*rows))
    del rows
    tracemalloc.start()
    try:
        checked = check_path(path, errors=tmp_path / "e.csv", groups=tmp_path / "g.jsonl")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert checked.good.error_counts == {"voice_unknown": 80, "column_invalid": 80}
    assert max(len(fault.detail) for fault in checked.faults) < 300
    assert peak < 24 * 2**20


def big(path: Path, parts: Iterator[bytes]) -> Path:
    with path.open("wb") as file:
        file.writelines(parts)
    return path


@pytest.mark.parametrize(
    ("head", "part", "code"),
    [
        (b"text\n", b"a" * 2**20, "row_malformed"),
        (b'text\n"', b"a\n" * 2**19, "row_malformed"),
        (b"", b"a" * 2**20, "row_malformed"),
        (b'{"text": "', b"a" * 2**20, "row_malformed"),
        (b"", b"\n" * 2**20, "row_malformed"),
    ],
    ids=["line", "quote", "header", "json", "blank"],
)
def test_memory_stays_small_whatever_the_file_is(tmp_path: Path, head: bytes, part: bytes, code: str) -> None:
    path = big(tmp_path / "big", itertools.chain((head,), itertools.repeat(part, 64)))
    tracemalloc.start()
    try:
        checked = check_path(path, errors=tmp_path / "e.csv", groups=tmp_path / "g.jsonl")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert checked.error is not None
    assert checked.error.code == code
    assert peak < 24 * 2**20
