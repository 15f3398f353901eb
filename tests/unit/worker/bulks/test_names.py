"""Names that become names of files stay in their folder and can be written everywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stentor.bulks.spreadsheet import safe_cell
from stentor.errors import FieldInvalid, FilenameUnsafe
from worker.bulks.intake.names import file_name
from worker.bulks.intake.values import group


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("hello", "hello.wav"),
        ("hello.wav", "hello.wav"),
        ("Hello.WAV", "Hello.WAV"),
        ("2026/november/17", "2026/november/17.wav"),
        ("v1.2", "v1.2.wav"),
        ("v1.2/part.a", "v1.2/part.a.wav"),
        ("a b (c) [d] & 'e'.wav", "a b (c) [d] & 'e'.wav"),
        ("问候/早安", "问候/早安.wav"),
        ("cafe\u0301", "café.wav"),
        ("console", "console.wav"),
        ("com10", "com10.wav"),
        (".hidden", ".hidden.wav"),
        ("-rf", "-rf.wav"),
        ("a" * 116 + ".wav", "a" * 116 + ".wav"),
    ],
)
def test_a_safe_name_passes_and_gets_its_extension(name: str, path: str) -> None:
    assert file_name(name, extension="wav") == path


HOSTILE = [
    "..",
    ".",
    "../a.wav",
    "a/../b.wav",
    "a/..",
    "a/./b",
    "/etc/passwd",
    "//server/share",
    "/",
    "a//b",
    "a/",
    "\\a",
    "..\\a.wav",
    "a\\b",
    "C:\\a.wav",
    "C:a.wav",
    "c:/a.wav",
    "a\x00.wav",
    "a\nb.wav",
    "a\x7fb",
    "a\u202egpj.wav",
    "a\u2028b",
    "\ud800",
    "CON",
    "con.wav",
    "a/NUL",
    "Aux.txt",
    "com1",
    "LPT9.wav",
    "COM¹.wav",
    "nul .wav",
    "CONIN$",
    "a.",
    "a ",
    "a. /b",
    "folder./b",
    "a<b",
    "a>b",
    'a"b',
    "a|b",
    "a?b",
    "a*b",
    " ",
    "a" * 121,
    "é" * 61,
    "/".join(["a" * 100] * 3),
    "a.mp3",
    "a.opus",
    "a.M4A",
    ".wav",
    "a/.wav",
    "a.wav/b.wav",
    "a.FLAC/b",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_that_leads_elsewhere_or_cannot_be_written_is_refused(name: str) -> None:
    with pytest.raises(FilenameUnsafe) as raised:
        file_name(name, extension="wav")
    assert len(raised.value.detail) < 300
    with pytest.raises((FilenameUnsafe, FieldInvalid)):
        file_name(f"folder/{name}", extension="wav")


@given(st.text(st.sampled_from("aB1.-_/ \\:coOnN\u00e9\u4e2d\x01"), min_size=1, max_size=12))
def test_what_passes_stays_in_its_folder(name: str) -> None:
    try:
        path = file_name(name, extension="ogg")
    except FilenameUnsafe:
        return
    assert path.lower().endswith(".ogg")
    for part in path.split("/"):
        assert part.strip(". ")
        assert part == part.rstrip(". ")
        assert part.partition(".")[0].strip().upper() != "CON"
        assert not set(part) & set("\\:\x01")


@pytest.mark.parametrize("name", ["chapter 1", "第一章", "a.b", "intro"])
def test_a_group_is_one_part_of_a_path(name: str) -> None:
    assert group(name) == name


@pytest.mark.parametrize("name", ["a/b", "..", "CON", "a:b", "x" * 121, "章" * 41, "a.", "\x00", 17])
def test_a_group_that_is_no_name_of_a_file_is_refused(name: object) -> None:
    with pytest.raises((FilenameUnsafe, FieldInvalid)):
        group(name)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"])
def test_a_cell_that_begins_like_a_formula_is_text_for_a_spreadsheet(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "1-1", " =1", "'=1", "ü"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert safe_cell(text) == text
