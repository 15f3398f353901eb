"""Piper: VITS voices on onnxruntime, on CPU and CUDA.

From the outside in:

    family.py      which voices are here          (no model library)
    config.py      a voice's ``.onnx.json``       (no model library)
    engine.py      the engine the worker calls    (no model library until it loads or prepares)
    phonemes.py    text -> phoneme ids            (piper, espeak)
    money.py       prices as English says them
    loading.py     model file -> a strategy, checked against the whole graph
    graph.py       the cut at the durations       (onnx)
    rewrite.py     the decoder in the form that onnxruntime runs fastest on a CPU (onnx)
    tiles.py       where a decoder may be cut into pieces, and how far its convolutions reach (onnx)
    sessions.py    onnxruntime sessions by device (onnxruntime)
    strategies.py  how a batch runs: side by side, padded, or through the whole graph
    latents.py     noise, durations and latents of one row
    finish.py      silence, level and word times
"""

from worker.engines.piper.family import PiperFamily

__all__ = ["PiperFamily"]
