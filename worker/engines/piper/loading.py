"""From a model file to a strategy that has been heard to say what the whole graph says."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import structlog
from onnx import ModelProto

from stentor.errors import EngineFailed
from worker.engines.piper.config import VoiceConfig
from worker.engines.piper.graphs.graph import Halves, NotCuttable, cut
from worker.engines.piper.graphs.rewrite import fast_on_cpu
from worker.engines.piper.graphs.tiles import NotTileable, stages
from worker.engines.piper.latents import FloatArray, Row
from worker.engines.piper.model import CutModel, TiledStage
from worker.engines.piper.sessions import OnnxSession, require
from worker.engines.piper.strategies import Padded, SideBySide, Strategy, solo
from worker.engines.piper.whole import WholeGraph, draws_other_noise, with_noise_inputs

#: Input samples per tile, for the middle stages and the last. At 8 and 64 samples per frame they are 64 and 32 frames,
#: so that a tile's tensors (some 1 MB each) stay near the core: of nine pairs the fastest on joe, EPYC with 1 MB of L2.
TILE, LAST_TILE = 512, 2048
#: How far the cut model may be from the whole one: ten times what joe showed (2e-6 of full scale).
TOLERANCE = 2e-5
#: Ids of the sentence that both must say alike: enough frames for two tiles.
TRIAL_IDS = 48

log = structlog.get_logger(__name__)


def load_strategy(
    path: Path, config: VoiceConfig, device: str, memory_limit_bytes: int | None, budget_frames: int
) -> Strategy:
    """The model in ``path`` on ``device``, cut if it can be; a padded pass holds ``budget_frames`` latent frames.

    Raises:
        EngineFailed: the file or the device cannot be used; the cause is kept.
    """
    require(device)
    try:
        return _load(path, config, device, memory_limit_bytes, budget_frames)
    except EngineFailed:
        raise
    except Exception as exc:  # onnx and onnxruntime raise whatever they like
        raise EngineFailed(f"the model {path} cannot be loaded on {device}: {type(exc).__name__}: {exc}") from exc


def _load(path: Path, config: VoiceConfig, device: str, memory_limit_bytes: int | None, budget_frames: int) -> Strategy:
    model = onnx.load(path)
    whole = _whole(model, config, device, memory_limit_bytes)
    try:
        halves = cut(model)
        cut_model = _sessions(halves, device, memory_limit_bytes)
        hop_samples = _trial(cut_model, whole, config)
    except NotCuttable as exc:
        log.warning("model_not_cut", path=str(path), reason=str(exc), deterministic=whole.deterministic)
        return whole
    if device == "cpu":
        return SideBySide(cut_model, hop_samples, cores=len(os.sched_getaffinity(0)))
    return Padded(cut_model, hop_samples, budget_frames)


def _whole(model: ModelProto, config: VoiceConfig, device: str, memory_limit_bytes: int | None) -> WholeGraph:
    seeded, noise_inputs = with_noise_inputs(model)
    return WholeGraph(
        OnnxSession(seeded, device, threads=0, memory_limit_bytes=memory_limit_bytes),
        noise_inputs,
        hop_samples=config.hop_length,
        deterministic=not draws_other_noise(model),
        audio=model.graph.output[0].name,
    )


def _sessions(halves: Halves, device: str, memory_limit_bytes: int | None) -> CutModel:
    """The halves' sessions. onnxruntime caps memory by session: the text half gets a quarter, the other the rest."""
    quarter = None if memory_limit_bytes is None else memory_limit_bytes // 4
    rest = None if quarter is None else 3 * quarter
    text = OnnxSession(halves.text, device, threads=1, memory_limit_bytes=quarter)
    if device == "cpu":
        return tile(halves, text)
    head = OnnxSession(halves.latent, device, threads=1, memory_limit_bytes=rest)
    return CutModel(names=halves, text=text, head=head, boundary=halves.audio)


def tile(halves: Halves, text: OnnxSession) -> CutModel:
    """The model as a CPU runs it fastest: rewritten, and in tiles if the decoder allows it."""
    try:
        head, boundary, rest = stages(halves.latent)
    except NotTileable as exc:
        log.info("decoder_not_tiled", reason=str(exc))
        head, boundary, rest = halves.latent, halves.audio, []
    return CutModel(
        names=halves,
        text=text,
        head=OnnxSession(fast_on_cpu(head), "cpu", threads=1),
        boundary=boundary,
        stages=tuple(
            TiledStage(
                session=OnnxSession(fast_on_cpu(stage.model), "cpu", threads=1),
                input=stage.input,
                output=stage.output,
                factor=stage.factor,
                halo=stage.halo,
                tile=LAST_TILE if stage is rest[-1] else TILE,
            )
            for stage in rest
        ),
    )


def _trial(model: CutModel, whole: WholeGraph, config: VoiceConfig) -> int:
    """Samples per latent frame, after both have said the same sentence without noise.

    Raises:
        NotCuttable: they did not say the same.
    """
    known = sorted({number for numbers in config.phoneme_id_map.values() for number in numbers})
    row = Row(
        ids=np.resize(np.array(known, dtype=np.int64), TRIAL_IDS),
        speaker_id=config.speaker_id,
        seed=(0, 0),
        length_scale=config.inference.length_scale,
        noise_scale=0,
        noise_w_scale=0,
    )
    spoken, wanted = solo(model, row), whole.speak_one(row).samples
    assert spoken.frames is not None
    if spoken.samples.shape != wanted.shape or wanted.size % spoken.frames.sum():
        raise NotCuttable(f"the halves made {spoken.samples.shape} samples and the whole graph {wanted.shape}")
    _same(spoken.samples, wanted)
    return int(wanted.size // spoken.frames.sum())


def _same(samples: FloatArray, wanted: FloatArray) -> None:
    difference = float(np.abs(samples - wanted).max())
    if not difference <= TOLERANCE:
        raise NotCuttable(f"the halves and the whole graph differ by {difference:.1e}; wanted {TOLERANCE:.0e} at most")
