"""The Piper engine's deciding parts: groups of rows, tiles, durations, rewritten convolutions, and the finish."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from stentor.errors import AudioInvalid, EngineFailed
from tests.support.speech import vits
from tests.support.speech.vits import Vits
from worker.engines.piper.finish import Sound, Spoken, join
from worker.engines.piper.graphs.graph import NotCuttable, cut
from worker.engines.piper.graphs.rewrite import fast_on_cpu
from worker.engines.piper.graphs.tiles import NotTileable, Stage, stages
from worker.engines.piper.latents import FloatArray, Row, durations, latents, on_edge
from worker.engines.piper.model import TiledStage
from worker.engines.piper.sessions import OnnxSession
from worker.engines.piper.strategies import groups


@pytest.mark.parametrize(
    ("counts", "budget", "expected"),
    [
        ([], 100, []),
        ([10], 1, [[0]]),  # more than the budget: alone
        ([10, 10, 10], 30, [[0, 1, 2]]),
        ([10, 10, 10], 29, [[0, 1], [2]]),
        ([50, 100, 70, 66], 1000, [[1, 2], [3, 0]]),  # 66 is less than 67% of 100, and 50 is 75% of 66
        ([100, 90, 80], 250, [[0, 1], [2]]),  # three would be padded to 300
        ([1, 100, 1], 1000, [[1], [0, 2]]),
    ],
)
def test_rows_of_like_length_share_a_decoder_pass(counts: list[int], budget: int, expected: list[list[int]]) -> None:
    assert groups(counts, budget) == expected


@given(st.lists(st.integers(1, 2000), max_size=80), st.integers(1, 20_000))
def test_no_row_is_dropped_or_doubled_and_no_pass_beyond_the_budget(counts: list[int], budget: int) -> None:
    found = groups(counts, budget)
    assert sorted(at for group in found for at in group) == list(range(len(counts)))
    for group in found:
        longest = max(counts[at] for at in group)
        assert len(group) == 1 or longest * len(group) <= budget
        assert all(counts[at] >= 0.67 * longest for at in group)


def latent(strides: tuple[int, ...], activation: str = "LeakyRelu") -> ModelProto:
    return cut(vits.model(Vits(strides=strides, activation=activation))).latent


@pytest.mark.parametrize(
    ("strides", "expected"),
    [
        # Two samples for a ConvTranspose, (1 + 3) / stride for its convolutions, and at the end 3 / stride more.
        ((8, 8, 4), [(8, 3), (4, 4)]),
        ((4, 4, 4), [(4, 3), (4, 4)]),
        ((5, 3, 2), [(3, 4), (2, 6)]),
        ((16,), []),
    ],
)
def test_stages_know_their_factor_and_how_far_they_reach(
    strides: tuple[int, ...], expected: list[tuple[int, int]]
) -> None:
    _, _, found = stages(latent(strides))
    assert [(stage.factor, stage.halo) for stage in found] == expected


def test_a_decoder_with_a_node_of_unknown_reach_is_not_tiled() -> None:
    with pytest.raises(NotTileable, match="the reach of Elu is not known"):
        stages(latent((8, 8, 4), activation="Elu"))


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 100])
def test_a_stage_in_tiles_gives_the_samples_that_it_gives_in_one(length: int) -> None:
    _, _, found = stages(latent((5, 3, 2)))
    rng = np.random.default_rng(5)
    for stage in found:
        samples = rng.standard_normal((1, vits.CHANNELS, length), dtype=np.float32)
        in_one, in_tiles = (tiled(stage, tile).run(samples) for tile in (1000, 32))
        assert in_tiles.shape[-1] == length * stage.factor
        np.testing.assert_allclose(in_tiles, in_one, atol=1e-6)


def test_without_its_halo_a_tile_is_wrong() -> None:
    _, _, (stage, _) = stages(latent((8, 8, 4)))
    samples = np.random.default_rng(5).standard_normal((1, vits.CHANNELS, 100), dtype=np.float32)
    short = tiled(stage, 32, halo=0).run(samples)
    assert float(np.abs(short - tiled(stage, 1000).run(samples)).max()) > 1e-3


def tiled(stage: Stage, tile: int, halo: int | None = None) -> TiledStage:
    return TiledStage(
        session=OnnxSession(stage.model, "cpu", threads=1),
        input=stage.input,
        output=stage.output,
        factor=stage.factor,
        halo=stage.halo if halo is None else halo,
        tile=tile,
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "bias"),
    [(16, 8, (4, 4), True), (4, 4, (0, 0), False), (7, 3, (2, 2), True), (5, 2, (1, 2), False), (3, 4, (0, 0), True)],
)
def test_a_rewritten_upsampling_gives_the_same_samples(
    kernel: int, stride: int, pads: tuple[int, int], bias: bool
) -> None:
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal((20, 18, kernel), dtype=np.float32)]
    if bias:
        weights.append(rng.standard_normal(18, dtype=np.float32))
    model = one_node("ConvTranspose", weights, kernel_shape=[kernel], strides=[stride], pads=pads)
    assert same_when_rewritten(model) == ["Reshape", "Conv", "Reshape", "Reshape", "Transpose", "Reshape", "Slice"]


@pytest.mark.parametrize(
    ("kernel", "dilation", "stride", "pads"), [(7, 1, 1, (3, 3)), (3, 5, 1, (5, 5)), (4, 1, 2, (0, 3))]
)
def test_a_rewritten_convolution_gives_the_same_samples(
    kernel: int, dilation: int, stride: int, pads: tuple[int, int]
) -> None:
    weights = [np.random.default_rng(3).standard_normal((18, 20, kernel), dtype=np.float32)]
    model = one_node("Conv", weights, kernel_shape=[kernel], dilations=[dilation], strides=[stride], pads=pads)
    assert same_when_rewritten(model) == ["Reshape", "Conv", "Reshape"]


@pytest.mark.parametrize(
    "attributes", [{"auto_pad": "SAME_UPPER"}, {"output_padding": [1], "strides": [2]}, {"dilations": [2]}]
)
def test_an_upsampling_of_unknown_form_is_left_as_it_is(attributes: dict[str, Any]) -> None:
    weights = [np.random.default_rng(3).standard_normal((20, 18, 4), dtype=np.float32)]
    assert same_when_rewritten(one_node("ConvTranspose", weights, kernel_shape=[4], **attributes)) == ["ConvTranspose"]


def one_node(op_type: str, weights: list[FloatArray], **attributes: Any) -> ModelProto:
    names = ["weight", "bias"][: len(weights)]
    node = helper.make_node(op_type, ["x", *names], ["y"], **attributes)
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    made = [onnx.numpy_helper.from_array(value, name) for name, value in zip(names, weights, strict=True)]
    graph = helper.make_graph([node], "one", info[:1], info[1:], made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def same_when_rewritten(model: ModelProto) -> list[str]:
    """Asserts that the rewritten model gives the same, and answers its kinds of node."""
    x = np.random.default_rng(4).standard_normal((2, 20, 37), dtype=np.float32)
    fast = fast_on_cpu(model)
    plain, rewritten = (run(one, x) for one in (model, fast))
    assert plain.shape == rewritten.shape
    np.testing.assert_allclose(rewritten, plain, atol=2e-5)
    return [node.op_type for node in fast.graph.node]


def run(model: ModelProto, x: FloatArray) -> FloatArray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    output: FloatArray = session.run(None, {"x": x})[0]
    return output


def test_a_graph_without_durations_is_not_cut() -> None:
    with pytest.raises(NotCuttable, match=r"Ceil of something times scales\[1\]: 0 found, 1 wanted"):
        cut(one_node("Conv", [np.ones((18, 20, 3), dtype=np.float32)], kernel_shape=[3]))


def test_the_halves_of_a_generated_graph_have_the_wanted_ends() -> None:
    halves = cut(vits.model(Vits(speakers=("ann", "bob"))))
    assert [info.name for info in halves.text.graph.input] == ["input", "input_lengths", halves.duration_noise, "sid"]
    assert [info.name for info in halves.latent.graph.input] == [halves.latents, halves.mask, "sid"]
    assert [info.name for info in halves.latent.graph.output] == ["output"]
    assert cut(vits.model(Vits(deterministic=True))).duration_noise is None


def a_row(length_scale: float = 1.0, noise: float = 0.5) -> Row:
    ids = np.array([1, 2, 3])
    return Row(ids=ids, speaker_id=None, seed=(5, 0), length_scale=length_scale, noise_scale=noise, noise_w_scale=noise)


def floats(*values: float) -> FloatArray:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(("length_scale", "expected"), [(1.0, [1, 2, 4]), (0.5, [1, 1, 2]), (2.0, [1, 4, 7])])
def test_durations_are_rounded_up_after_the_speed(length_scale: float, expected: list[int]) -> None:
    assert durations(a_row(length_scale), floats(0.2, 2.0, 3.25)).tolist() == expected


@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (np.nan, 1.0, 1.0), (np.inf, 1.0, 1.0)])
def test_durations_that_make_no_speech_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(AudioInvalid, match="the model gives 3 phoneme ids a duration of"):
        durations(a_row(), floats(*weights))


def test_durations_beyond_ten_minutes_are_refused() -> None:
    assert durations(a_row(), floats(51_678, 1, 1)).sum() == 51_680
    with pytest.raises(EngineFailed, match="would be 51681 frames long; at most 51680 are spoken"):
        durations(a_row(), floats(51_679, 1, 1))


@pytest.mark.parametrize(
    ("length_scale", "weights", "expected"),
    [
        (1.0, (0.5, 1.5, 2.5), False),
        (1.0, (0.5, 2.0003, 2.5), True),
        (1.0, (0.5, 1.9997, 2.5), True),
        (1.0, (0.5, 2.0005, 2.5), False),
        (2.0, (0.5, 1.7, 2.3), True),  # 2 x 0.5 is a whole number
        (1.0, (0.0, 0.0, 0.0), False),  # nothing, whatever the company
    ],
)
def test_a_duration_on_the_edge_is_seen(length_scale: float, weights: tuple[float, ...], expected: bool) -> None:
    assert on_edge(a_row(length_scale), floats(*weights)) is expected


def test_without_noise_the_latents_are_the_repeated_means() -> None:
    means, deviations = floats(1, 2, 3)[None], floats(0, 0, 0)[None]
    row = a_row(noise=0)
    z = latents(row, row.generator(), means, deviations, np.array([2, 0, 3]))
    assert z.tolist() == [[1, 1, 3, 3, 3]]


SOUND = Sound(sample_rate_hz=1000, hop_samples=100, spoken_ids=frozenset({5, 6}), space_id=3)


def spoken(samples: FloatArray, *frames: int) -> Spoken:
    return Spoken(samples=samples, frames=np.array(frames) if frames else None)


def tone(samples: int, *, lead: int = 0, tail: int = 0) -> FloatArray:
    wave = np.sign(np.sin(np.arange(samples) + 0.5)).astype(np.float32) * np.float32(0.3)
    return np.pad(wave, (lead, tail))


def test_dead_air_is_cut_to_what_sounds_natural() -> None:
    speech = join("Hi", [(np.array([1, 5, 2]), spoken(tone(200, lead=400, tail=400), 4, 2, 4))], SOUND)
    assert len(speech.samples) == 60 + 200 + 150  # 0.06 s before and 0.15 s after
    assert [(word.word, word.start_s, word.end_s) for word in speech.words] == [("Hi", 0.06, 0.26)]
    assert float(np.abs(speech.samples).max()) == pytest.approx(0.1)  # a square wave's peak is its RMS


def test_two_rows_are_two_sentences_with_a_pause_between() -> None:
    row = (np.array([1, 5, 3, 6, 2]), spoken(tone(500), 1, 1, 1, 1, 1))
    speech = join("One two. Three four.", [row, row], SOUND)
    assert len(speech.samples) == 500 + 200 + 500
    assert [word.word for word in speech.words] == ["One", "two.", "Three", "four."]
    assert [word.start_s for word in speech.words] == [0.1, 0.3, 0.8, 1.0]
    assert not speech.samples[500:700].any()


def test_words_without_times_or_with_another_count_are_left_out() -> None:
    ids = np.array([1, 5, 2])
    assert join("Hi", [(ids, spoken(tone(500)))], SOUND).words == ()
    assert join("Hi you", [(ids, spoken(tone(500), 1, 3, 1))], SOUND).words == ()


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (floats(), "0 samples"),
        (floats(0.1, np.nan), "values that are not finite"),
        (floats(0.1, np.inf), "values that are not finite"),
        (floats(0, 0, 0), "silence: the peak is 0.0e"),
        (floats(0, 9e-5, 0), "silence: the peak is 9.0e-05 in 3 samples"),
    ],
)
def test_what_is_no_speech_is_refused(samples: FloatArray, reason: str) -> None:
    with pytest.raises(AudioInvalid, match=reason):
        join("Hi", [(np.array([5]), spoken(samples, 1))], SOUND)


@pytest.mark.parametrize("samples", [1, 3, 11, 105])
def test_a_sound_in_the_last_part_of_a_window_is_heard(samples: int) -> None:
    # A window has ten samples; only the very last sample is not silent.
    click = np.zeros(samples, dtype=np.float32)
    click[-1] = 0.5
    speech = join("Hi", [(np.array([5]), spoken(click, 1))], SOUND)
    assert float(np.abs(speech.samples[-1])) > 0.05
    assert float(np.abs(speech.samples).max()) <= 0.95


def test_values_whose_squares_are_beyond_float32_are_levelled() -> None:
    speech = join("Hi", [(np.array([5]), spoken(tone(100) * np.float32(1e30), 1))], SOUND)
    assert float(np.abs(speech.samples).max()) == pytest.approx(0.1)
