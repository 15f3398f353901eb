"""Long texts are cut where a speaker would breathe, and nothing of them is lost or said twice."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.batching.segments import pause_s, split

#: Parts that a reader takes for one character, none of which joins with another.
GRAPHEMES = ("a", "é", "n\u0303", "ক্", "กี้", "เก", "한", "漢", "👍🏽", "👨‍👩‍👧", "❤️", "5", "Ж", "ש", "𝔄")
PIECES = (*GRAPHEMES, " ", " ", ". ", ", ", "\n", "。", "、", "? ", '"', "(", ")", "3.14", "Dr. ", "\u3000", "\u00a0")


def letters(text: str) -> str:
    """The text without its white space."""
    return "".join(text.split())


@given(st.lists(st.sampled_from(PIECES), max_size=200).map("".join), st.integers(1, 60))
def test_every_visible_character_is_in_exactly_one_segment_and_none_is_too_long(text: str, max_chars: int) -> None:
    segments = split(text, max_chars)
    assert letters("".join(segments)) == letters(text)
    assert all(1 <= len(segment) <= max_chars for segment in segments)
    assert all(segment.removesuffix("\n").strip() == segment.removesuffix("\n") != "" for segment in segments)


@given(st.text(max_size=300), st.integers(1, 40))
def test_no_text_at_all_breaks_these_rules(text: str, max_chars: int) -> None:
    segments = split(text, max_chars)
    assert letters("".join(segments)) == letters(text)
    assert all(1 <= len(segment) <= max_chars for segment in segments)


@given(st.lists(st.sampled_from(GRAPHEMES), min_size=1, max_size=60), st.integers(6, 20))
def test_what_a_reader_takes_for_one_character_is_not_split(graphemes: list[str], max_chars: int) -> None:
    ends = {len("".join(graphemes[:count])) for count in range(len(graphemes) + 1)}
    position = 0
    for segment in split("".join(graphemes), max_chars):
        position += len(segment)
        assert position in ends


@pytest.mark.parametrize("size", [6, 7, 11, 12, 13])
def test_a_character_of_many_marks_stays_whole_when_it_just_fits(size: int) -> None:
    character = "e" + "\u0301" * (size - 1)
    assert split(character + "b", size) == [character, "b"]
    assert split("b" + character, size) == ["b", character]


def test_surrogates_that_make_one_character_stay_together() -> None:
    assert split("\ud83d\ude00" * 3, 3) == ["\ud83d\ude00"] * 3


def test_flags_are_cut_between_countries() -> None:
    assert split("🇩🇪🇫🇷🇯🇵🇧🇷", 5) == ["🇩🇪🇫🇷", "🇯🇵🇧🇷"]


@pytest.mark.parametrize("text", ["", " ", "\n", "\n\n\n", " \n\t\n\u3000"])
def test_a_text_without_anything_visible_has_no_segments(text: str) -> None:
    assert split(text, 100) == []


def test_a_limit_below_one_character_is_refused() -> None:
    with pytest.raises(ValueError, match=r"max_chars is 0; the minimum is 1\."):
        split("text", 0)


def test_a_text_within_the_limit_is_one_segment_without_the_space_around_it() -> None:
    assert split("  We open at nine tomorrow. ", 100) == ["We open at nine tomorrow."]


def test_short_sentences_share_a_segment_and_long_ones_have_their_own() -> None:
    long = "The blue kettle that you asked about is back in stock."
    assert split(f"Hello! Good news. {long} {long} Bye.", 100) == [f"Hello! Good news. {long}", f"{long} Bye."]


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        (
            "Dr. Smith went to Washington D.C. yesterday. He met Mrs. Jones at 3.15 p.m. in St. James Street.",
            ["Dr. Smith went to Washington D.C. yesterday.", "He met Mrs. Jones at 3.15 p.m. in St. James Street."],
        ),
        (
            "Bring a jacket, e.g. the blue one you wore. See no. 5 and p. 12 of the printed catalogue.",
            ["Bring a jacket, e.g. the blue one you wore.", "See no. 5 and p. 12 of the printed catalogue."],
        ),
        (
            "The novel is by J. R. R. Tolkien of Oxford. It costs $3.50 or 1,250.75 yen in our shop.",
            ["The novel is by J. R. R. Tolkien of Oxford.", "It costs $3.50 or 1,250.75 yen in our shop."],
        ),
        (
            "Wir liefern z. B. Stühle, d. h. Möbel, usw. an Sie. Herr Dr. Müller von Nr. 5 hat heute bestellt.",
            ["Wir liefern z. B. Stühle, d. h. Möbel, usw. an Sie.", "Herr Dr. Müller von Nr. 5 hat heute bestellt."],
        ),
        (
            "Am 24. Dezember schließen wir schon um 14 Uhr. Die Spielwaren sind im 2. Stock neben der Kasse.",
            ["Am 24. Dezember schließen wir schon um 14 Uhr.", "Die Spielwaren sind im 2. Stock neben der Kasse."],
        ),
        (
            'The sign at the door said "We are closed." Then it began to rain, and we all went home.',
            ['The sign at the door said "We are closed."', "Then it began to rain, and we all went home."],
        ),
        (
            "»Wann öffnet das Geschäft am kommenden Samstag?« Das fragen uns viele unserer Kunden.",
            ["»Wann öffnet das Geschäft am kommenden Samstag?«", "Das fragen uns viele unserer Kunden."],
        ),
        (
            "„Wo ist meine Bestellung geblieben?“, fragte der Kunde. Sie kommt am Mittwoch (vielleicht!) zu Ihnen.",
            [
                "„Wo ist meine Bestellung geblieben?“, fragte der Kunde.",
                "Sie kommt am Mittwoch (vielleicht!) zu Ihnen.",
            ],
        ),
        (
            "„Am kommenden Samstag öffnen wir um neun.“ Das schrieb uns das Geschäft in der Stadt.",
            ["„Am kommenden Samstag öffnen wir um neun.“", "Das schrieb uns das Geschäft in der Stadt."],
        ),
        (
            "we write everything in lower case letters here. nobody minds, and sentences still have an end.",
            ["we write everything in lower case letters here.", "nobody minds, and sentences still have an end."],
        ),
    ],
)
def test_sentences_are_told_from_abbreviations_and_numbers(text: str, segments: list[str]) -> None:
    assert split(text, 60) == segments


def test_a_quotation_mark_with_a_space_before_it_stays_with_its_sentence() -> None:
    first = "Le vendeur répond à notre client : « Votre colis est arrivé. »"
    assert split(first, 61) != [first]
    assert split(f"{first} Il attend au magasin depuis ce matin, 8 heures.", 62)[0] == first


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        (
            "今天天气很好。我们去公园散步吧！你想一起去吗？好的，没问题。",
            ["今天天气很好。", "我们去公园散步吧！", "你想一起去吗？", "好的，没问题。"],
        ),
        ("吾輩は猫である。名前はまだ無い。", ["吾輩は猫である。", "名前はまだ無い。"]),
        ("他走了。“你好吗”我问。", ["他走了。", "“你好吗”我问。"]),
        ("「はい。」と彼は言った。", ["「はい。」", "と彼は言った。"]),
        ("สวัสดีครับ ยินดีต้อนรับ", ["สวัสดีครับ", "ยินดีต้อนรับ"]),
        ("नमस्ते दुनिया। यह ठीक है।", ["नमस्ते दुनिया।", "यह ठीक है।"]),
        ("كيف حالك؟ أنا بخير.", ["كيف حالك؟", "أنا بخير."]),
        ("Привет. 你好。Hello.", ["Привет. 你好。", "Hello."]),
    ],
)
def test_scripts_without_latin_full_stops_have_sentences_too(text: str, segments: list[str]) -> None:
    assert split(text, 14 if max(map(len, segments)) > 9 else 9) == segments


def test_a_long_sentence_is_cut_at_the_clause_nearest_its_middle() -> None:
    text = "Your parcel, which we packed with care this morning, will reach you on Tuesday, March 4, before noon."
    assert split(text, 60) == [
        "Your parcel, which we packed with care this morning,",
        "will reach you on Tuesday, March 4, before noon.",
    ]


def test_a_sentence_without_clauses_is_cut_between_words_of_like_number() -> None:
    assert split("one two three four five six seven eight", 20) == ["one two three four", "five six seven eight"]


def test_a_cut_far_from_the_middle_is_better_than_half_a_word() -> None:
    assert split("Pi is 3.14159265358979 and more", 20) == ["Pi is", "3.14159265358979", "and more"]


def test_a_number_is_cut_neither_in_nor_after_its_decimal_point() -> None:
    assert split("价格一千二百三.14元左右", 8) == ["价格一千二百", "三.14元左右"]
    assert split("价格大约是1234.5678元左右", 12) == ["价格大约是", "1234.5678元左右"]


def test_a_chinese_text_without_any_mark_is_cut_into_like_pieces() -> None:
    assert split("这是一个没有标点符号的很长的句子用来测试", 10) == ["这是一个没有标点符号", "的很长的句子用来测试"]


def test_thai_is_cut_before_vowels_that_are_written_first_and_never_before_marks() -> None:
    segments = split("วันนี้อากาศดีมากเราไปเที่ยวกันเถอะ", 12)
    assert "".join(segments) == "วันนี้อากาศดีมากเราไปเที่ยวกันเถอะ"
    assert not any(segment[-1] in "เแโใไ" or segment[0] in "ะัาำิีึืุู่้๊๋์" for segment in segments)


def test_a_word_of_ten_thousand_letters_is_cut_into_like_pieces() -> None:
    segments = split("a" * 10_000, 300)
    assert "".join(segments) == "a" * 10_000
    assert {len(segment) for segment in segments} == {156, 157}


@pytest.mark.parametrize("unit", [".", "!?", ".!?…", '."', "! ", ". (", " -", "a\u0301", "🇩", "。", ",", "(", "A. "])
def test_no_text_takes_quadratic_time(unit: str) -> None:
    text = (unit * 20_000)[:20_000] + "a"
    started_s = time.process_time()
    split(text, 300)
    assert time.process_time() - started_s < 1.0  # 9 s for full stops before


def test_a_segment_that_ends_a_paragraph_says_so_but_for_the_last() -> None:
    assert split("Opening hours\n\nWe open at nine.\nWelcome!", 60) == [
        "Opening hours\n",
        "We open at nine.\n",
        "Welcome!",
    ]


def test_a_limit_of_one_character_leaves_no_room_to_say_so() -> None:
    assert split("ab\nc", 1) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("segment", "next_segment", "expected_s"),
    [
        ("Opening hours\n", "We open at nine.", 0.6),
        ("We close at five.\n", "Welcome!", 0.6),
        ("We open at nine.", "Welcome!", 0.35),
        ("Really?", "Yes.", 0.35),
        ('He said "stop."', "Then he left.", 0.35),
        ("„Ja.“", "Das sagte er.", 0.35),
        ("»Ja.«", "Das sagte er.", 0.35),
        ("今天天气很好。", "我们去公园", 0.35),
        ("「はい。」", "と彼は言った。", 0.35),
        ("नमस्ते दुनिया।", "यह ठीक है।", 0.35),
        ("Wait...", "what is that?", 0.18),
        ("Your parcel,", "which we packed,", 0.18),
        ("One thing:", "we are open", 0.18),
        ("The price –", "as agreed", 0.18),
        ("好的，", "没问题", 0.18),
        ("สวัสดีครับ", "ยินดีต้อนรับ", 0.18),
        ("one two three", "four five six", 0.0),
        ("aaaa", "aaaa", 0.0),
        ("这是一个", "没有标点", 0.0),
        ("The end.", "", 0.0),
        ("The end.\n", "", 0.0),
    ],
)
def test_the_pause_after_a_segment_follows_from_how_it_ends(segment: str, next_segment: str, expected_s: float) -> None:
    assert pause_s(segment, next_segment) == expected_s
