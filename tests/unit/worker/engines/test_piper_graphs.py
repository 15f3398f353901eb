"""The Piper engine with generated voices: what joe's graph never does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from structlog.testing import capture_logs

from stentor.errors import AudioInvalid, EngineFailed
from stentor.settings import Settings
from stentor.voices.voice import Voice
from tests.support.speech import vits
from tests.support.speech.vits import Vits
from worker.engines.contract import Segment, Speech
from worker.engines.piper import PiperFamily
from worker.engines.piper.batch import speak
from worker.engines.piper.config import VoiceConfig, config_path
from worker.engines.piper.engine import PiperEngine, budget_s
from worker.engines.piper.latents import Row
from worker.engines.piper.phonemes import PiperUtterance
from worker.engines.piper.strategies import SideBySide, Strategy

TEXTS = ("Hello world, how are you?", "Yes.", "The shop opens at nine.", "Thank you!")


def engine_of(folder: Path, vits_: Vits, name: str = "made", **fields: object) -> PiperEngine:
    """The voice, written into ``folder`` and found there."""
    vits.save(folder, name, vits_, **fields)
    engine = PiperFamily(Settings(voices_dir=folder)).engines()[name]
    assert isinstance(engine, PiperEngine)
    return engine


def loaded(folder: Path, vits_: Vits, name: str = "made", **fields: object) -> PiperEngine:
    engine = engine_of(folder, vits_, name, **fields)
    engine.load("cpu", None)
    return engine


def padded(folder: Path, vits_: Vits, name: str = "made") -> tuple[Strategy, VoiceConfig]:
    """What CUDA uses, on CPU sessions."""
    path = folder / f"{name}.onnx"
    return vits.padded(path, hop_samples=vits_.hop), VoiceConfig.read(config_path(path))


def utterance(
    engine: PiperEngine, text: str = TEXTS[0], *, seed: int = 0, speed: float = 1.0, voice: Voice | None = None
) -> PiperUtterance:
    made = engine.prepare(Segment.of(text, voice or engine.voices[0], seed=seed, speed=speed))
    assert isinstance(made, PiperUtterance)
    return made


def heard(engine: PiperEngine, *batch: PiperUtterance) -> list[Speech]:
    answers = engine.synthesize(batch)
    assert all(isinstance(answer, Speech) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Speech)]


KINDS = {
    "like piper's": Vits(),
    "deterministic durations": Vits(deterministic=True),
    "several speakers": Vits(speakers=("ann", "bob")),
    "not to be cut": Vits(cuttable=False),
    "not to be tiled": Vits(activation="Elu"),
    "one upsampling": Vits(strides=(16,)),
    "hop of 64": Vits(strides=(4, 4, 4)),
    "odd strides": Vits(strides=(5, 3, 2)),
    "weights read in a branch": Vits(branch=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_batch_is_solo_and_the_same_seed_the_same_bytes(tmp_path: Path, kind: str) -> None:
    engine = loaded(tmp_path, KINDS[kind])
    batch = [utterance(engine, text, seed=seed, speed=0.8 + 0.2 * seed) for seed, text in enumerate(TEXTS)]
    together = heard(engine, *batch)
    for one, speech in zip(batch, together, strict=True):
        assert heard(engine, one)[0].samples.tobytes() == speech.samples.tobytes()
    (other,) = heard(engine, utterance(engine, TEXTS[0], seed=99, speed=0.8))
    assert other.samples.tobytes() != together[0].samples.tobytes()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].cuttable])
def test_padded_a_row_is_the_same_alone_and_with_others_even_if_it_ends_loudly(tmp_path: Path, kind: str) -> None:
    engine = loaded(tmp_path, KINDS[kind])
    batch = [utterance(engine, text, seed=seed, speed=0.8 + 0.2 * seed) for seed, text in enumerate(TEXTS)]
    strategy, config = padded(tmp_path, KINDS[kind])
    for one, mine, answer in zip(batch, heard(engine, *batch), speak(batch, strategy, config), strict=True):
        (alone,) = speak([one], strategy, config)
        assert isinstance(alone, Speech)
        assert isinstance(answer, Speech)
        assert answer.samples.shape == alone.samples.shape == mine.samples.shape
        assert float(np.abs(answer.samples - alone.samples).max()) <= 5e-5
        assert answer.words == alone.words == mine.words


def test_a_model_with_speakers_offers_a_voice_for_each(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, Vits(speakers=("ann", "bob")), "choir")
    assert [(voice.name, voice.speaker) for voice in engine.voices] == [
        ("choir", None),
        ("choir:ann", "ann"),
        ("choir:bob", "bob"),
    ]


def test_speakers_differ_and_share_a_batch_without_mixing(tmp_path: Path) -> None:
    engine = loaded(tmp_path, KINDS["several speakers"])
    default, ann, bob = engine.voices
    batch = [utterance(engine, voice=voice) for voice in (ann, bob, default)]
    of_ann, of_bob, of_default = heard(engine, *batch)
    assert of_ann.samples.tobytes() == of_default.samples.tobytes()  # default_speaker_id is 0
    assert of_ann.samples.tobytes() != of_bob.samples.tobytes()
    assert heard(engine, batch[1])[0].samples.tobytes() == of_bob.samples.tobytes()
    strategy, config = padded(tmp_path, KINDS["several speakers"])
    for one, mine, answer in zip(batch, (of_ann, of_bob), speak(batch[:2], strategy, config), strict=False):
        (alone,) = speak([one], strategy, config)
        assert isinstance(alone, Speech)
        assert isinstance(answer, Speech)
        assert answer.samples.shape == alone.samples.shape == mine.samples.shape
        assert float(np.abs(answer.samples - alone.samples).max()) <= 5e-5


def test_the_default_speaker_is_the_configurations(tmp_path: Path) -> None:
    engine = loaded(tmp_path, KINDS["several speakers"], default_speaker_id=1)
    default, _, bob = engine.voices
    of_default, of_bob = heard(engine, utterance(engine, voice=default), utterance(engine, voice=bob))
    assert of_default.samples.tobytes() == of_bob.samples.tobytes()


def test_a_speaker_or_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, KINDS["several speakers"], "choir")
    fields = {"engine": "piper", "languages": ("en_US",), "sample_rate_hz": 22050}
    eve = Voice(name="choir:eve", model="choir", speaker="eve", **fields)  # type: ignore[arg-type]
    with pytest.raises(EngineFailed, match="the model choir has no speaker 'eve'"):
        utterance(engine, voice=eve)
    with pytest.raises(EngineFailed, match="the voice joe belongs to the model joe, not to choir"):
        utterance(engine, voice=Voice(name="joe", model="joe", **fields))  # type: ignore[arg-type]


def test_deterministic_durations_do_not_depend_on_the_seed(tmp_path: Path) -> None:
    engine = loaded(tmp_path, KINDS["deterministic durations"])
    strategy, _ = padded(tmp_path, KINDS["deterministic durations"])
    spoken = strategy.speak([row(engine, seed=seed) for seed in (1, 2)])
    frames = [
        answer.frames.tolist() for answer in spoken if not isinstance(answer, Exception) and answer.frames is not None
    ]
    assert len(frames) == 2
    assert frames[0] == frames[1]


def row(engine: PiperEngine, *, seed: int) -> Row:
    (ids,) = utterance(engine, "Yes.").sentences
    return Row(ids=ids, speaker_id=None, seed=(seed, 0), length_scale=1, noise_scale=0.667, noise_w_scale=0.8)


def test_a_graph_that_cannot_be_cut_runs_whole_and_says_so(tmp_path: Path) -> None:
    with capture_logs() as logs:
        engine = loaded(tmp_path, KINDS["not to be cut"])
    (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert (warning["event"], warning["deterministic"]) == ("model_not_cut", True)
    assert warning["reason"] == "what is multiplied by scales[0] is not a product"
    assert engine.whole_graph
    assert not engine.info.pads
    (speech,) = heard(engine, utterance(engine))
    assert speech.words == ()
    assert speech.samples.size > 22050


def test_a_piper_graph_does_not_run_whole_and_warns_of_nothing(tmp_path: Path) -> None:
    with capture_logs() as logs:
        engine = loaded(tmp_path, KINDS["like piper's"])
    assert not engine.whole_graph
    assert logs == []


def test_noise_that_no_seed_reaches_is_said_in_the_warning(tmp_path: Path) -> None:
    with capture_logs() as logs:
        engine = loaded(tmp_path, Vits(cuttable=False, noise="RandomUniformLike"))
    assert [entry["deterministic"] for entry in logs if entry["event"] == "model_not_cut"] == [False]
    first, again = heard(engine, utterance(engine), utterance(engine))
    assert first.samples.tobytes() != again.samples.tobytes()


def test_a_whole_graph_that_asks_for_more_noise_than_expected_gets_it(tmp_path: Path) -> None:
    slow = Vits(cuttable=False, strides=(4,), log_frames=5.0)  # 150 frames per id; noise for 64 is drawn at first
    engine = loaded(tmp_path, slow)
    first, again = heard(engine, utterance(engine, "Yes."), utterance(engine, "Yes."))
    assert first.samples.size > 13 * 64 * 4
    assert first.samples.tobytes() == again.samples.tobytes()


def test_a_decoder_that_cannot_be_tiled_is_run_in_one(tmp_path: Path) -> None:
    with capture_logs() as logs:
        engine = loaded(tmp_path, KINDS["not to be tiled"])
    assert [entry["reason"] for entry in logs if entry["event"] == "decoder_not_tiled"] == [
        "the reach of Elu is not known"
    ]
    assert not engine.whole_graph
    assert [word.word for word in heard(engine, utterance(engine))[0].words] == [
        "Hello",
        "world,",
        "how",
        "are",
        "you?",
    ]


@pytest.mark.parametrize(("kind", "hop"), [("like piper's", 256), ("hop of 64", 64), ("odd strides", 30)])
def test_the_hop_is_found_in_the_model_whatever_its_configuration_says(tmp_path: Path, kind: str, hop: int) -> None:
    engine = loaded(tmp_path, KINDS[kind], hop_length=256)
    strategy = engine._strategy
    assert isinstance(strategy, SideBySide)
    assert strategy.hop_samples == hop
    (spoken,) = strategy.speak([row(engine, seed=3)])
    assert not isinstance(spoken, Exception)
    assert spoken.frames is not None
    assert spoken.samples.size == spoken.frames.sum() * hop


def test_costs_and_budget_are_counted_in_the_models_own_frames(tmp_path: Path) -> None:
    info = engine_of(tmp_path, KINDS["hop of 64"]).info
    assert info.cost_per_s == 22050 / 64
    assert info.budget == 15503  # 45 s


@pytest.mark.parametrize("kind", ["like piper's", "not to be cut"])
def test_a_bad_row_fails_alone(tmp_path: Path, kind: str) -> None:
    engine = loaded(tmp_path, KINDS[kind])
    good = utterance(engine, seed=4)
    bad = PiperUtterance(
        segment=good.segment, cost=1, sentences=(np.array([1, vits.SYMBOLS, 2]), *good.sentences), speaker_id=None
    )
    before, failed, after = engine.synthesize([good, bad, good])
    assert isinstance(failed, EngineFailed)
    assert "the model failed on a sentence" in failed.detail
    wanted = heard(engine, good)[0].samples.tobytes()
    for answer in (before, after):
        assert isinstance(answer, Speech)
        assert answer.samples.tobytes() == wanted


def test_a_bad_speaker_fails_alone_in_a_padded_pass(tmp_path: Path) -> None:
    kind = KINDS["several speakers"]
    engine = loaded(tmp_path, kind, speaker_id_map={"ann": 0, "bob": 1, "nobody": 7})
    strategy, config = padded(tmp_path, kind)
    _, ann, _, nobody = engine.voices
    batch = [utterance(engine, voice=voice) for voice in (ann, nobody, ann)]
    with capture_logs() as logs:
        first, failed, last = speak(batch, strategy, config)
    assert isinstance(first, Speech)
    assert isinstance(failed, EngineFailed)
    assert isinstance(last, Speech)
    assert first.samples.tobytes() == last.samples.tobytes()
    assert [entry["event"] for entry in logs] == ["pass_split", "row_failed"]


@pytest.mark.parametrize(
    ("content", "cause"),
    [(b"this is no model", "DecodeError"), (b"", "")],
)
def test_a_corrupt_model_file_is_an_engine_failure_with_its_cause(tmp_path: Path, content: bytes, cause: str) -> None:
    engine = engine_of(tmp_path, Vits(), "broken")
    (tmp_path / "broken.onnx").write_bytes(content)
    with pytest.raises(EngineFailed, match=rf"broken.onnx cannot be loaded on cpu: .*{cause}") as failure:
        engine.load("cpu", None)
    assert failure.value.__cause__ is not None


def test_a_truncated_model_file_is_an_engine_failure(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, Vits(), "broken")
    path = tmp_path / "broken.onnx"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(EngineFailed, match=r"broken.onnx cannot be loaded on cpu: \w+: "):
        engine.load("cpu", None)


def test_a_model_that_is_no_voice_is_an_engine_failure(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, Vits(), "sum")
    info = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["a"], ["b"])], "sum", info[:1], info[1:])
    opset = [onnx.helper.make_opsetid("", 15)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "sum.onnx")
    with pytest.raises(EngineFailed, match="the model sum was loaded on cpu but cannot speak"):
        engine.load("cpu", None)
    with pytest.raises(EngineFailed, match="the model sum is not loaded"):
        engine.synthesize([])


def test_a_model_that_answers_with_silence_is_never_ready(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, Vits(gain=0.0), "mute")
    with pytest.raises(EngineFailed, match="the model mute was loaded on cpu but cannot speak") as failure:
        engine.load("cpu", None)
    assert isinstance(failure.value.__cause__, AudioInvalid)
    with pytest.raises(EngineFailed, match="the model mute is not loaded"):
        engine.synthesize([])


@pytest.mark.parametrize("fields", [{"phoneme_type": "runes"}, {"espeak": {"voice": "no-such-language"}}])
def test_a_voice_whose_text_piper_cannot_read_is_an_engine_failure(tmp_path: Path, fields: dict[str, Any]) -> None:
    engine = engine_of(tmp_path, Vits(), **fields)
    with pytest.raises(EngineFailed, match=r"piper"):
        engine.load("cpu", None)
    with pytest.raises(EngineFailed, match=r"piper"):
        utterance(engine)


def test_a_voice_without_latin_letters_warms_up_with_its_own(tmp_path: Path) -> None:
    letters = {"_": [0], "^": [1], "$": [2], " ": [3], "д": [4], "а": [5], "н": [6], "е": [7], "т": [8]}
    engine = loaded(tmp_path, Vits(), phoneme_type="text", phoneme_id_map=letters)
    assert [word.word for word in heard(engine, utterance(engine, "да нет"))[0].words] == ["да", "нет"]


def test_cuda_on_an_onnxruntime_without_it_names_the_package_that_helps(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, Vits())
    with pytest.raises(
        EngineFailed, match=r"cuda:0 needs onnxruntime's CUDAExecutionProvider.*Install onnxruntime-gpu"
    ):
        engine.load("cuda:0", None)


@pytest.mark.parametrize("device", ["cuda", "cuda:", "cuda:one", "CPU", "", "tpu:0"])
def test_an_unknown_device_is_refused(tmp_path: Path, device: str) -> None:
    engine = engine_of(tmp_path, Vits())
    with pytest.raises(EngineFailed, match="piper runs on cpu or cuda:<number>"):
        engine.load(device, None)


@pytest.mark.parametrize(
    ("device", "limit_bytes", "seconds"),
    [
        ("cpu", None, 45.0),
        ("cpu", 2**30, 45.0),
        ("cuda:0", None, 240.0),
        ("cuda:0", 80 * 2**30, 240.0),
        ("cuda:1", 2**30 + 100 * 20 * 2**20, 100.0),
        ("cuda:0", 2**30, 10.0),
        ("cuda:0", 1, 10.0),
    ],
)
def test_a_memory_limit_shrinks_the_budget_on_cuda(device: str, limit_bytes: int | None, seconds: float) -> None:
    assert budget_s(device, limit_bytes) == seconds


def test_synthesis_before_load_is_refused_but_preparing_is_not(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, Vits())
    with pytest.raises(EngineFailed, match="the model made is not loaded; load it before a batch is spoken"):
        engine.synthesize([utterance(engine)])


def test_an_unloaded_engine_speaks_again_after_another_load(tmp_path: Path) -> None:
    engine = loaded(tmp_path, Vits())
    before = heard(engine, utterance(engine))[0].samples.tobytes()
    engine.unload()
    engine.unload()
    with pytest.raises(EngineFailed, match="is not loaded"):
        engine.synthesize([utterance(engine)])
    engine.load("cpu", None)
    assert heard(engine, utterance(engine))[0].samples.tobytes() == before


def test_a_failed_load_leaves_nothing_behind(tmp_path: Path) -> None:
    engine = loaded(tmp_path, Vits())
    with pytest.raises(EngineFailed, match="onnxruntime-gpu"):
        engine.load("cuda:0", None)
    with pytest.raises(EngineFailed, match="is not loaded"):
        engine.synthesize([utterance(engine)])


def test_a_text_too_loud_for_its_squares_is_levelled_like_any_other(tmp_path: Path) -> None:
    engine = loaded(tmp_path, Vits(gain=1e30))  # 1e60 is beyond float32
    (speech,) = heard(engine, utterance(engine))
    assert 0.05 < float(np.abs(speech.samples).max()) <= 0.95 + 1e-6


def test_the_configuration_is_read_beside_the_model_and_not_by_its_content(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, Vits(), audio={"sample_rate": 16000}, language={"code": "de_DE", "family": "de"})
    assert json.loads((tmp_path / "made.onnx.json").read_text(encoding="utf-8"))["audio"] == {"sample_rate": 16000}
    assert engine.info.sample_rate_hz == 16000
    assert engine.voices[0].languages == ("de_DE",)
