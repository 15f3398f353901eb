"""The Piper engine with a real voice, joe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnxruntime
import pytest

from stentor.errors import EngineFailed, TextUnspeakable
from stentor.settings import Settings
from tests.support.speech import vits
from worker.engines.contract import Segment, Speech, Utterance
from worker.engines.piper import PiperFamily
from worker.engines.piper.batch import speak
from worker.engines.piper.config import VoiceConfig, config_path
from worker.engines.piper.engine import PiperEngine
from worker.engines.piper.family import packaged_model
from worker.engines.piper.latents import FloatArray, Row, duration_noise, durations
from worker.engines.piper.phonemes import PiperUtterance
from worker.engines.piper.strategies import Padded, SideBySide

RATE_HZ = 22050

#: Sixteen texts of one to nine words, some of two sentences; the first three are the ones that are heard alone too.
TEXTS = (
    "Your parcel arrives on Tuesday.",
    "Hello.",
    "Good morning. The shop opens at nine.",
    "Thank you!",
    "Frozen vegetables are two for one this week.",
    "Is anybody there?",
    "Mind the step.",
    "Till number four is now open.",
    "Yes.",
    "Fresh bread costs three pounds today.",
    "Welcome back.",
    "Please wait.",
    "The lift is out of order.",
    "Wonderful!",
    "Order twelve is ready.",
    "Good night, and sleep well.",
)


@pytest.fixture(scope="module")
def joe() -> Iterator[PiperEngine]:
    engine = PiperFamily(Settings()).engines()["joe"]
    assert isinstance(engine, PiperEngine)
    engine.load("cpu", None)
    yield engine
    engine.unload()


@pytest.fixture(scope="module")
def padded() -> Padded:
    """What CUDA uses, on CPU sessions; the small budget makes several decoder passes of one batch."""
    path = packaged_model()
    assert path is not None
    return vits.padded(path, hop_samples=256, budget_frames=900)


@pytest.fixture(scope="module")
def together(joe: PiperEngine) -> list[Speech]:
    """``TEXTS`` as one batch, seeds 0 to 15."""
    return heard(joe, [utterance(joe, text, seed=seed) for seed, text in enumerate(TEXTS)])


def joe_config() -> VoiceConfig:
    path = packaged_model()
    assert path is not None
    return VoiceConfig.read(config_path(path))


def utterance(joe: PiperEngine, text: str, *, seed: int = 0, speed: float = 1.0) -> PiperUtterance:
    made = joe.prepare(Segment.of(text, joe.voices[0], seed=seed, speed=speed))
    assert isinstance(made, PiperUtterance)
    return made


def heard(joe: PiperEngine, batch: Sequence[Utterance]) -> list[Speech]:
    answers = joe.synthesize(batch)
    assert all(isinstance(answer, Speech) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Speech)]


def difference(one: FloatArray, other: FloatArray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one - other).max())


def test_on_a_cpu_a_text_sounds_alone_exactly_as_it_does_with_fifteen_others(
    joe: PiperEngine, together: list[Speech]
) -> None:
    for number in (0, 1, 2):
        (alone,) = heard(joe, [utterance(joe, TEXTS[number], seed=number)])
        assert alone.samples.tobytes() == together[number].samples.tobytes()
        assert alone.words == together[number].words


def test_padded_a_text_sounds_alone_as_it_does_with_fifteen_others(joe: PiperEngine, padded: Padded) -> None:
    batch = [utterance(joe, text, seed=seed) for seed, text in enumerate(TEXTS)]
    crowd = speak(batch, padded, joe_config())
    for number in (0, 1, 2, 8, 15):
        (alone,) = speak([batch[number]], padded, joe_config())
        among = crowd[number]
        assert isinstance(alone, Speech)
        assert isinstance(among, Speech)
        assert difference(alone.samples, among.samples) <= 5e-4
        assert alone.words == among.words


def test_padded_and_side_by_side_say_the_same(joe: PiperEngine, padded: Padded, together: list[Speech]) -> None:
    batch = [utterance(joe, text, seed=seed) for seed, text in enumerate(TEXTS[:4])]
    for mine, answer in zip(together, speak(batch, padded, joe_config()), strict=False):
        assert isinstance(answer, Speech)
        assert difference(mine.samples, answer.samples) <= 5e-4


def test_the_order_of_a_batch_is_the_order_of_its_answers(joe: PiperEngine, together: list[Speech]) -> None:
    order = [3, 1, 8, 0]
    answers = heard(joe, [utterance(joe, TEXTS[at], seed=at) for at in order])
    assert [answer.samples.tobytes() for answer in answers] == [together[at].samples.tobytes() for at in order]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_take(joe: PiperEngine) -> None:
    first, again, other = heard(joe, [utterance(joe, "Mind the step.", seed=seed) for seed in (7, 7, 8)])
    assert first.samples.tobytes() == again.samples.tobytes()
    assert first.samples.tobytes() != other.samples.tobytes()


def test_the_largest_seed_speaks(joe: PiperEngine) -> None:
    assert heard(joe, [utterance(joe, "Yes.", seed=2**32 - 1)])[0].samples.size > 0.1 * RATE_HZ


def test_two_sentences_of_one_text_have_noise_of_their_own(joe: PiperEngine) -> None:
    twice = utterance(joe, "Thank you! Thank you!", seed=5)
    assert twice.sentences[0].tolist() == twice.sentences[1].tolist()
    (speech,) = heard(joe, [twice])
    first, second = speech.words[0], speech.words[2]
    assert (first.word, second.word) == ("Thank", "Thank")
    takes = [speech.samples[round(word.start_s * RATE_HZ) :][:2048] for word in (first, second)]
    assert difference(*takes) > 0.01


@pytest.mark.parametrize(("speed", "least", "most"), [(2.0, 0.45, 0.7), (0.5, 1.6, 2.1)])
def test_twice_the_speed_takes_about_half_the_time(joe: PiperEngine, speed: float, least: float, most: float) -> None:
    # Not nearer to half: every phoneme's frames are rounded up, and 0.21 s of silence stay as they are.
    text = "Frozen vegetables are two for one this week."
    normal, changed = heard(joe, [utterance(joe, text), utterance(joe, text, speed=speed)])
    assert least < len(changed.samples) / len(normal.samples) < most


def test_speeds_and_seeds_of_neighbours_do_not_disturb(joe: PiperEngine, padded: Padded) -> None:
    text, manners = "Till number four is now open.", ((1.0, 1), (2.0, 1), (0.7, 2), (1.3, 2))
    batch = [utterance(joe, text, speed=speed, seed=seed) for speed, seed in manners]
    side_by_side, in_one_pass = heard(joe, batch), speak(batch, padded, joe_config())
    assert len({len(answer.samples) for answer in side_by_side}) == 4
    for one, mine, answer in zip(batch, side_by_side, in_one_pass, strict=True):
        assert mine.samples.tobytes() == heard(joe, [one])[0].samples.tobytes()
        assert isinstance(answer, Speech)
        assert difference(mine.samples, answer.samples) <= 5e-4


def row(ids: np.ndarray, *, seed: tuple[int, int] = (0, 0), noise: float = 0.667, length_scale: float = 1.0) -> Row:
    return Row(
        ids=ids, speaker_id=None, seed=seed, length_scale=length_scale, noise_scale=noise, noise_w_scale=1.2 * noise
    )


@pytest.fixture(scope="module")
def exported() -> onnxruntime.InferenceSession:
    """Joe's graph as it was exported."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(packaged_model()), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("length_scale", [1.0, 1.6])
def test_without_noise_the_cut_model_says_what_the_whole_graph_says(
    joe: PiperEngine, padded: Padded, exported: onnxruntime.InferenceSession, length_scale: float
) -> None:
    (ids,) = utterance(joe, "The lift is out of order; please use the stairs.").sentences
    scales = np.array([0, length_scale, 0], dtype=np.float32)
    (whole,) = exported.run(None, {"input": ids[None], "input_lengths": np.array([len(ids)]), "scales": scales})
    assert isinstance(joe._strategy, SideBySide)
    for strategy, most in ((joe._strategy, 2e-5), (padded, 5e-4)):  # padded, the end has a margin
        (spoken,) = strategy.speak([row(ids, noise=0, length_scale=length_scale)])
        assert not isinstance(spoken, Exception)
        assert difference(spoken.samples, whole.reshape(-1)) <= most
        assert spoken.frames is not None
        assert spoken.frames.sum() * 256 == whole.size


def test_a_duration_that_company_would_round_otherwise_stays_as_it_is_alone(joe: PiperEngine, padded: Padded) -> None:
    long, short = (utterance(joe, text).sentences[0] for text in (TEXTS[4], TEXTS[5]))
    noises = [duration_noise(row(ids), row(ids).generator()) for ids in (short, long)]
    alone = padded._text([row(short)], noises[:1]).weights[0]
    among = padded._text([row(short), row(long)], noises).weights[0, : len(short)]
    at = int(np.argmax(np.abs(among - alone) / alone))
    between = (float(alone[at]) + float(among[at])) / 2
    # At this speed the two are just below and just above a whole number of frames.
    edge = row(short, length_scale=np.ceil(between) / between)
    assert durations(edge, alone).tolist() != durations(edge, among).tolist()
    (by_itself,), (in_company, _) = padded.speak([edge]), padded.speak([edge, row(long)])
    assert not isinstance(by_itself, Exception)
    assert not isinstance(in_company, Exception)
    assert by_itself.frames is not None
    assert in_company.frames is not None
    assert by_itself.frames.tolist() == in_company.frames.tolist()


def test_words_have_times_that_ascend_and_lie_within_the_audio(together: list[Speech]) -> None:
    assert [word.word for word in together[0].words] == ["Your", "parcel", "arrives", "on", "Tuesday."]
    opens = together[2]
    assert [word.word for word in opens.words] == ["Good", "morning.", "The", "shop", "opens", "at", "nine."]
    for speech in (together[0], opens):
        edges = [edge for word in speech.words for edge in (word.start_s, word.end_s)]
        assert edges == sorted(edges)
        assert all(word.start_s < word.end_s for word in speech.words)
        assert edges[0] >= 0
        assert edges[-1] <= len(speech.samples) / RATE_HZ
    # 0.2 s are put between sentences, and what is left of their own silence: there is no word in that time.
    assert opens.words[2].start_s - opens.words[1].end_s > 0.2


def test_a_word_is_louder_than_the_pause_between_sentences(together: list[Speech]) -> None:
    opens = together[2]

    def rms(begin_s: float, end_s: float) -> float:
        return float(np.sqrt(np.mean(np.square(opens.samples[int(begin_s * RATE_HZ) : int(end_s * RATE_HZ)]))))

    words = opens.words
    pause_middle_s = (words[1].end_s + words[2].start_s) / 2
    pause = rms(pause_middle_s - 0.05, pause_middle_s + 0.05)
    assert all(rms(word.start_s, word.end_s) > 5 * pause for word in words)


def test_a_text_whose_words_are_read_as_others_has_no_word_times(joe: PiperEngine) -> None:
    (speech,) = heard(joe, [utterance(joe, "It costs 1250 pounds.")])
    assert speech.words == ()


def test_speech_is_trimmed_and_levelled_and_does_not_clip(together: list[Speech]) -> None:
    for speech in together:
        assert speech.samples.dtype == np.float32
        assert 0.05 < float(np.abs(speech.samples).max()) <= 0.95 + 1e-6
        loud = np.flatnonzero(np.abs(speech.samples) > 0.02)
        assert loud[0] < 0.6 * RATE_HZ
        assert len(speech.samples) - loud[-1] < 0.6 * RATE_HZ


@pytest.mark.parametrize("text", ["...", "?!", " ", "— –", "\u200b"])
def test_a_text_with_nothing_to_say_is_unspeakable(joe: PiperEngine, text: str) -> None:
    with pytest.raises(TextUnspeakable, match="the voice joe finds nothing to say"):
        utterance(joe, text)


def test_a_sentence_with_nothing_to_say_is_left_out(joe: PiperEngine) -> None:
    assert [ids.tolist() for ids in utterance(joe, "Yes.\n\n—\n\nYes.").sentences] == [
        [1, 0, 22, 0, 120, 0, 61, 0, 31, 0, 2],
        [1, 0, 22, 0, 120, 0, 61, 0, 31, 0, 10, 0, 2],
    ]


@pytest.mark.parametrize("brackets", ["[[", "[[[", "[[[["])
def test_double_brackets_are_text_and_not_raw_phonemes(joe: PiperEngine, brackets: str) -> None:
    # Raw, "z" would be one phoneme (id 38) between the marks; as text it is the letter's name, "zee".
    (ids,) = utterance(joe, f"{brackets}z]]").sentences
    (spelled,) = utterance(joe, "[ z").sentences
    assert [number for number in ids.tolist() if number > 13] == [number for number in spelled.tolist() if number > 13]
    assert {38, 21} <= set(ids.tolist())


def test_the_cost_is_about_the_number_of_frames(joe: PiperEngine, together: list[Speech]) -> None:
    frames = sum(len(speech.samples) / 256 for speech in together)
    costs = sum(utterance(joe, text).cost for text in TEXTS)
    assert 0.8 < costs / frames < 1.6
    assert utterance(joe, TEXTS[0], speed=2.0).cost == round(utterance(joe, TEXTS[0]).cost / 2)


def test_joe_tells_what_he_can_do(joe: PiperEngine) -> None:
    info = joe.info
    assert (info.name, info.model, info.sample_rate_hz, info.languages) == ("piper", "joe", 22050, ("en_US",))
    assert (info.budget, info.pads, info.cloning) == (3875, False, False)
    assert [voice.name for voice in joe.voices] == ["joe"]


@pytest.mark.parametrize("bad_id", [100_000, -100_000])
def test_a_row_with_an_unknown_phoneme_fails_alone(
    joe: PiperEngine, padded: Padded, together: list[Speech], bad_id: int
) -> None:
    good = [utterance(joe, TEXTS[at], seed=at) for at in (0, 1)]
    bad = PiperUtterance(
        segment=good[0].segment, cost=10, sentences=(good[0].sentences[0], np.array([1, bad_id, 2])), speaker_id=None
    )
    batch = [good[0], bad, good[1]]
    for answers in (joe.synthesize(batch), speak(batch, padded, joe_config())):
        assert isinstance(answers[1], EngineFailed)
        assert "the model failed on a sentence" in answers[1].detail
        assert answers[1].__cause__ is not None
        for answer, wanted in ((answers[0], together[0]), (answers[2], together[1])):
            assert isinstance(answer, Speech)
            assert difference(answer.samples, wanted.samples) <= 5e-4


def test_an_endless_sentence_is_refused_before_it_takes_the_memory(joe: PiperEngine, padded: Padded) -> None:
    endless = PiperUtterance(
        segment=utterance(joe, "Yes.", speed=1e-4).segment,
        cost=10,
        sentences=utterance(joe, "Yes.").sentences,
        speaker_id=None,
    )
    fine = utterance(joe, TEXTS[1], seed=1)
    for answers in (joe.synthesize([endless, fine]), speak([endless, fine], padded, joe_config())):
        assert isinstance(answers[0], EngineFailed)
        assert "at most 51680 are spoken" in answers[0].detail
        assert isinstance(answers[1], Speech)


def test_an_empty_batch_has_no_answers(joe: PiperEngine, padded: Padded) -> None:
    assert joe.synthesize([]) == []
    assert padded.speak([]) == []
