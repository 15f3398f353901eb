"""Texts as clients send them are made fit to be spoken, or refused with a named error."""

from __future__ import annotations

import re
import sys
import time
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stentor.errors import TextEmpty, TextInvalid, TextTooLong, TextUnspeakable
from stentor.text import _MAYBE_PILE, MAX_MARKS, clean, speakable

ALL_SPACES = "".join(
    char for char in map(chr, range(sys.maxunicode + 1)) if char.isspace() and char not in "\x1c\x1d\x1e\x1f"
)


def cleaned(text: str) -> str:
    return clean(text, max_chars=30_000)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=200))
def test_a_clean_text_is_normal_has_single_spaces_and_the_same_letters(text: str) -> None:
    try:
        got = cleaned(text)
    except (TextEmpty, TextUnspeakable):
        assert not any(char.isalnum() and unicodedata.category(char) != "Lo" for char in text)
        return
    assert unicodedata.is_normalized("NFC", got)
    assert not re.search(r"[^\S \n]|\s\s", got)
    assert got == got.strip()
    assert speakable(got)


@given(st.text(st.characters(codec="utf-8"), max_size=39))
def test_cleaning_a_short_text_again_changes_nothing(text: str) -> None:
    try:
        once = cleaned(text)
    except (TextEmpty, TextInvalid, TextUnspeakable):
        assume(False)
    assert cleaned(once) == once


@pytest.mark.parametrize("text", ["", " ", "\n\n\n", ALL_SPACES, "\ufeff", "\u200b\u200d\u00ad \u2060", "\u202e\u202c"])
def test_a_text_of_nothing_visible_is_empty(text: str) -> None:
    message = f"The text has {len(text)} characters, none of them visible; at least one letter or number is required."
    with pytest.raises(TextEmpty, match=f"^{message}$"):
        cleaned(text)


@pytest.mark.parametrize("text", ["😀", "👨‍👩‍👧 🇩🇪 ❤️", "...", "?!", "—", "\u0301", "$ % &", "\ufffd", "\u2800"])
def test_a_text_without_letters_and_numbers_is_unspeakable(text: str) -> None:
    with pytest.raises(TextUnspeakable, match="but no letter and no number; at least one is required"):
        cleaned(text)


@pytest.mark.parametrize("text", ["a", "7", "½", "٣", "漢", "ก", "😀 1", "Ж.", "𝔄"])
def test_one_letter_or_number_of_any_script_can_be_spoken(text: str) -> None:
    assert cleaned(text) == text


@pytest.mark.parametrize("code", [0, 1, 7, 8, 0x0E, 0x1B, 0x1C, 0x1F, 0x7F, 0x80, 0x84, 0x86, 0x9F])
def test_a_control_character_is_named_with_its_place(code: int) -> None:
    with pytest.raises(TextInvalid, match=rf"^Character 3 of the text is U\+{code:04X}, a control character; "):
        cleaned(f"ab{chr(code)}c")


@pytest.mark.parametrize("code", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_a_lone_surrogate_is_named_in_a_message_that_can_be_written_as_utf_8(code: int) -> None:
    with pytest.raises(TextInvalid, match=rf"^Character 1 of the text is U\+{code:04X}, a lone surrogate; ") as raised:
        cleaned(f"{chr(code)}abc")
    assert raised.value.detail.encode()


def test_a_text_that_is_too_long_says_what_was_seen_and_what_is_wanted() -> None:
    assert clean("a" * 20, max_chars=20) == "a" * 20
    with pytest.raises(TextTooLong, match=r"^The text has 21 characters; at most 20 are allowed\.$"):
        clean("a" * 21, max_chars=20)


def test_the_length_is_looked_at_before_anything_else_and_as_it_was_sent() -> None:
    with pytest.raises(TextTooLong):
        clean("\x00" * 21, max_chars=20)
    with pytest.raises(TextTooLong):
        clean(" " * 20 + "a", max_chars=20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeffHello", "Hello"),
        ("Hel\u00adlo wor\u200bld", "Hello world"),
        ("\u202bHello\u202c", "Hello"),
        ("a\u200db\u200cc\u200d", "abc"),
        ("\u200dabc", "abc"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("می\u200c\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("Hi 👨\u200d👩\u200d👧", "Hi 👨\u200d👩\u200d👧"),
        ("Hi ❤️\u200d🔥", "Hi ❤️\u200d🔥"),
    ],
)
def test_what_is_invisible_goes_unless_it_shapes_a_script_or_an_emoji(text: str, expected: str) -> None:
    assert cleaned(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e\u0301", "é"),
        ("\u1112\u1161\u11ab", "한"),
        ("A\u030a \u212b", "Å Å"),
        ("か\u3099", "が"),
        ("ﬁne ①²", "ﬁne ①²"),  # NFC, not NFKC: what it was is not guessed
        ("  a \t b\u00a0\u3000c  ", "a b c"),
    ],
)
def test_letters_and_spaces_have_one_form(text: str, expected: str) -> None:
    assert cleaned(text) == expected


def test_thirty_marks_on_a_letter_stay_and_more_go() -> None:
    assert cleaned("x" + "\u0323" * 30) == "x" + "\u0323" * 30
    assert cleaned("x" + "\u0323" * 31 + "y") == "x" + "\u0323" * 30 + "y"


def test_what_may_be_a_pile_has_all_that_combines_in_it() -> None:
    may_be = re.compile(_MAYBE_PILE.pattern.removesuffix(f"{{{MAX_MARKS + 1}}}"))
    marks = [char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.combining(char)]
    assert len(marks) > 800
    assert [char for char in marks if not may_be.fullmatch(char)] == []


def test_a_pile_of_marks_takes_no_quadratic_time() -> None:
    started_s = time.process_time()
    cleaned("x" + "\u0323\u0301" * 14_000)
    assert time.process_time() - started_s < 1.0


@pytest.mark.parametrize(
    "line_break", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\n\n", "\n \n"]
)
def test_a_line_break_after_a_short_line_parts_paragraphs(line_break: str) -> None:
    assert cleaned(f"Opening hours{line_break}We open at nine.") == "Opening hours\nWe open at nine."


LONG = "This line is as long as lines are in a wrapped mail,"


@pytest.mark.parametrize("line_break", ["\n", "\r\n", " \n ", "\u2028"])
def test_a_line_break_after_a_long_line_is_where_an_editor_wrapped_it(line_break: str) -> None:
    assert cleaned(f"{LONG}{line_break}so it goes on.\nBye") == f"{LONG} so it goes on.\nBye"


@pytest.mark.parametrize("line_break", ["\n\n", "\r\n\r\n", "\u2029"])
def test_an_empty_line_parts_paragraphs_after_a_long_line_too(line_break: str) -> None:
    assert cleaned(f"{LONG}{line_break}New.") == f"{LONG}\nNew."


def test_lines_of_forty_characters_go_on_and_shorter_ones_end() -> None:
    assert cleaned("a" * 40 + "\nb") == "a" * 40 + " b"
    assert cleaned("a" * 39 + "\nb") == "a" * 39 + "\nb"
